def main():
    model = load(sys.argv[1] if len(sys.argv) > 1 else MODEL)
    with torch.no_grad():
        unedited, cache = model.run_with_cache(torch.tensor([TOKENS]))
        for hook in (hook for *_, where in EDITS for hook, _, _, *path in where if not path and hook not in cache):
            refuse(hook, "it does not compute this value")      # an edit of a hook that never fires would do nothing
        contrast = model.run_with_cache(torch.tensor([CONTRAST]))[1] if CONTRAST else None
        edited = model.run_with_hooks(torch.tensor([TOKENS]), fwd_hooks=hooks(model, cache, contrast))
    p, q = (logits[0, -1].double().log_softmax(-1) for logits in (unedited, edited))
    kl = float((p.exp() * (p - q)).sum())
    print(f"KL(unedited || edited) after the last position: {kl:.6g} here, {KL:.6g} in pythia-tui")
    for what, logits, expected in [("unedited", unedited, UNEDITED), ("edited", edited, EDITED)]:
        here, there = logits[0, -1, list(expected)].numpy(), np.float32(list(expected.values()))
        largest = max(1, np.abs(there[np.isfinite(there)]).max(initial=0))
        np.testing.assert_allclose(here, there, rtol=0, atol=TOLERANCE * largest, err_msg=f"{what}: logits differ")
        print(f"{what}: the logits differ by at most {np.nanmax(np.abs(here - there), initial=0) / largest:.1e} of the largest")
    np.testing.assert_allclose(kl, KL, rtol=1e-3, atol=1e-5, err_msg="KL differs")
    print("equal")


main()
