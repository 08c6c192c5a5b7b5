#!/usr/bin/env bash
# Fill corpus/ with real inputs: the tests' checkpoints, the demo, and seeds/.
set -euo pipefail
cd "$(dirname "$0")"
fixtures=../tests/fixtures
for target in config edit experiment pickle safetensors safetensors_header settings tokenizer torch_file; do
    mkdir -p "corpus/$target"
    if [ -d "seeds/$target" ]; then cp "seeds/$target"/* "corpus/$target/"; fi
done
for config in "$fixtures"/*/config.json "$fixtures"/formats/*/config.json ../assets/demo/config.json; do
    cp "$config" "corpus/config/$(basename "$(dirname "$config")").json"
done
for weights in "$fixtures"/formats/*/*.bin; do
    name=$(basename "$(dirname "$weights")")-$(basename "$weights")
    cp "$weights" "corpus/torch_file/$name"
    unzip -p "$weights" '*/data.pkl' > "corpus/pickle/$name.pkl"
done
for weights in "$fixtures"/formats/*/*.safetensors; do
    name=$(basename "$(dirname "$weights")")-$(basename "$weights")
    cp "$weights" "corpus/safetensors/$name"
    # the first 8 bytes are the length of the header
    length=$(od -An -t u8 -N 8 "$weights" | tr -d ' ')
    head -c $((8 + length)) "$weights" | tail -c "$length" > "corpus/safetensors_header/$name.json"
done
cp ../assets/demo/tokenizer.json corpus/tokenizer/demo.json
# the edits in the indented block of the documentation, one per line
grep -E '^ {4}(blocks\.|hook_|ln_final)' ../docs/edits.md | sed 's/^ *//' | while read -r line; do
    printf '%s' "$line" > "corpus/edit/readme-$(printf '%s' "$line" | cksum | cut -d' ' -f1)"
done
