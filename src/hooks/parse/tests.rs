use super::*;
use crate::hooks::BlockHook;

#[test]
fn examples_round_trip() {
    for line in [
        "blocks.0.attn.hook_z[head=3] = 0",
        "blocks.*.attn.hook_z[head=0,2:4 pos=-1] *= 0.5",
        "blocks.2-4.hook_mlp_out = mean",
        "blocks.1.attn.hook_pattern[head=2 query=-1 key=0] = 0",
        "blocks.3.hook_resid_post[pos=1 d_model=17] += 4",
        "blocks.4.hook_resid_pre[pos=1] = patch",
        "blocks.*.ln1.hook_scale = freeze",
        "blocks.2.hook_mlp_out += noise 0.1 seed 7",
        "blocks.0,2,5.attn.hook_attn_scores[key=0] = -inf",
        "hook_embed[pos=1:] *= -2.5",
        "ln_final.hook_scale = inf",
        "blocks.0.attn.hook_result[head=1] -> blocks.3.hook_q_input[head=2] = patch",
        "hook_embed -> blocks.*.hook_mlp_in *= 0.5",
        "blocks.0-2.hook_mlp_out[pos=-1] -> blocks.5.hook_resid_post += noise 0.1 seed 3",
        "blocks.3.hook_resid_post += 4 * happy",
        "blocks.*.attn.hook_z[head=2] += -0.5 * happy-sad_2",
        "blocks.*.hook_resid_post[pos=-1] -= proj refusal",
        "hook_embed -> blocks.1.hook_mlp_in += 2 * v",
    ] {
        let edit: Edit = line.parse().unwrap();
        assert_eq!(edit.to_string(), line);
    }
}

#[test]
fn spaces_are_optional_where_they_have_no_meaning() {
    let tidy: Edit = "hook_embed[pos=1] *= 2".parse().unwrap();
    for line in ["hook_embed[pos=1]*=2", "  hook_embed [ pos=1 ]  *=  2 ", "hook_embed[pos=1] *=2"] {
        assert_eq!(line.parse::<Edit>().unwrap(), tidy, "{line}");
    }
    let steered: Edit = "hook_embed += 2 * v".parse().unwrap();
    for line in ["hook_embed += 2*v", "hook_embed+=2 *v ", "hook_embed += 2* v"] {
        assert_eq!(line.parse::<Edit>().unwrap(), steered, "{line}");
    }
    let path: Edit = "hook_embed -> blocks.1.hook_mlp_in[pos=0] = 0".parse().unwrap();
    assert_eq!("hook_embed->blocks.1.hook_mlp_in[pos=0]=0".parse::<Edit>().unwrap(), path);
    assert_eq!("hook_embed*= 2".parse::<Edit>().unwrap().op, Op::Scale(2.0));
    let all: Edit = "blocks.*.mlp.hook_post*=2".parse().unwrap();
    assert_eq!(all.target, Target::Block(Blocks::All, BlockHook::MlpPost));
}

#[test]
fn errors_point_at_the_column_and_suggest() {
    let cases = [
        ("blocks.0.attn.hook_zz = 0", 9, "there is no hook", Some("blocks.0.attn.hook_z")),
        ("hook_embd = 0", 0, "there is no hook", Some("hook_embed")),
        ("blocks.0.attn.hook_z[haed=3] = 0", 21, "there is no axis", Some("head")),
        ("blocks.0.attn.hook_z[head=x] = 0", 26, "an index or a slice", None),
        ("blocks.0.attn.hook_z[head=1", 27, "no closing", None),
        ("blocks.0.attn.hook_z[head=1 head=2] = 0", 28, "twice", None),
        ("blocks.0.attn.hook_z[] = 0", 21, "empty", None),
        ("blocks.4-2.hook_mlp_out = 0", 7, "blocks are", None),
        ("blocks.x.hook_mlp_out = 0", 7, "blocks are", None),
        ("blocks.0.hook_mlp_out", 21, "an operation was expected", None),
        ("blocks.0.hook_mlp_out -= 1", 25, "not an operation", None),
        ("blocks.0.hook_mlp_out -= prj v", 25, "not an operation", Some("proj")),
        ("blocks.0.hook_mlp_out -= proj", 29, "name of a vector is missing", None),
        ("blocks.0.hook_mlp_out += 2 *", 28, "name of a vector is missing", None),
        ("blocks.0.hook_mlp_out += 2 * 3v", 29, "no name of a vector", None),
        ("blocks.0.hook_mlp_out += v * 3", 25, "not a number", None),
        ("blocks.0.hook_mlp_out = 2 * v", 26, "nothing more", None),
        ("blocks.0.hook_mlp_out = maen", 24, "not a number", Some("mean")),
        ("blocks.0.hook_mlp_out = nan", 24, "not a number", None),
        ("blocks.0.hook_mlp_out = 1e99", 24, "too large", None),
        ("blocks.0.hook_mlp_out = 0 0", 26, "nothing more", None),
        ("blocks.0.hook_mlp_out += noise -1", 31, "not negative", None),
        ("blocks.0.hook_mlp_out += noise 1 sed 2", 33, "seed", None),
        ("blocks.0.hook_mlp_out =", 23, "missing", None),
        ("blocks.0.attn.hook_z -> blocks.1.hook_mlp_in = 0", 0, "writes to the residual stream", None),
        ("hook_embed -> blocks.1.attn.hook_q = 0", 14, "a reader's own input", None),
        ("hook_embed->blocks.1.hook_mlp_inn = 0", 21, "there is no hook", Some("blocks.1.hook_mlp_in")),
        ("blocks.2.hook_mlp_out -> blocks.0,1.hook_mlp_in = 0", 25, "block 2 comes after block 1", None),
        ("blocks.2.hook_mlp_out -> ", 24, "starts with a hook name", None),
        ("blocks.2.hook_mlp_out -> blocks.3.hook_mlp_in", 45, "an operation was expected", None),
        ("", 0, "starts with a hook name", None),
    ];
    for (line, column, message, suggestion) in cases {
        let error = line.parse::<Edit>().unwrap_err();
        assert_eq!(error.column(), column, "{error}");
        assert!(error.message.contains(message), "{error}");
        if let Some(suggestion) = suggestion {
            assert!(error.nearest.contains(&suggestion.to_string()), "{error}");
        }
    }
}
