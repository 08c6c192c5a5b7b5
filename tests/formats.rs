//! Every file format of checkpoints gives the same model; damaged files are refused with a reason.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path};

use common::{activations, fixture, run, spec};
use pythia_tui::{
    engine::Engine,
    hooks::Schema,
    model::{ModelError, Placement, Processing, Source},
};

const FORMS: [&str; 8] =
    ["f32", "bf16", "f16-buffers", "f16-shards", "f16-bin", "bf16-bin", "f16-bin-shards-buffers", "f64-views-bin"];

#[test]
fn loading_can_be_stopped_before_the_next_tensor() {
    use std::cell::Cell;
    let source = Source::Directory(fixture("parallel-25"));
    let tensors = Cell::new(0);
    let up_to = |limit: usize| {
        tensors.set(0);
        source.load_while(Processing::Folded, Placement::cpu(), &|| {
            tensors.set(tensors.get() + 1);
            tensors.get() <= limit
        })
    };
    assert!(up_to(usize::MAX).is_ok());
    let all = tensors.get();
    assert!(all > 10);
    for limit in [0, 1, all - 1] {
        assert!(matches!(up_to(limit), Err(ModelError::Stopped)));
        assert_eq!(tensors.get(), limit + 1);
    }
}

fn load(directory: &Path) -> Result<Engine, ModelError> {
    let loaded = Source::Directory(directory.into()).load(Processing::Folded, Placement::cpu())?;
    let schema = Schema::new(loaded.model.config.dims());
    Ok(Engine::new(loaded, schema))
}

#[test]
fn every_file_format_gives_the_same_model() {
    let ran = |form: &str| {
        let mut engine = load(&fixture("formats").join(form)).unwrap();
        let outcome = run(&mut engine, &spec(&[3, 1, 4, 1, 5, 9, 2, 6], &[])).unwrap();
        activations(&engine, &outcome)
    };
    let expected = ran(FORMS[0]);
    assert!(expected["logits"].iter().any(|x| x.abs() > 0.1));
    for form in &FORMS[1..] {
        let found = ran(form);
        assert_eq!(found.len(), expected.len());
        for (name, values) in &expected {
            assert_eq!(found[name], *values, "{form}: {name}");
        }
    }
}

#[test]
fn unused_tensors_are_noted() {
    for form in FORMS {
        let loaded =
            Source::Directory(fixture("formats").join(form)).load(Processing::Folded, Placement::cpu()).unwrap();
        let expected = match form {
            "f64-views-bin" => vec!["the checkpoint has 2 tensors that this model does not use: lora.extra, step"],
            _ => vec![],
        };
        assert_eq!(loaded.notes, expected, "{form}");
    }
}

/// The error of loading a copy of a fixture after `damage`.
fn refused(form: &str, damage: impl FnOnce(&Path)) -> String {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture("formats").join(form)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    damage(copy.path());
    let error = load(copy.path()).err().unwrap_or_else(|| panic!("{form} was accepted in spite of its damage"));
    error.to_string().replace(&copy.path().display().to_string(), "DIR")
}

fn truncate(path: &Path, keep: f64) {
    let bytes = fs::read(path).unwrap();
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fs::write(path, &bytes[..(bytes.len() as f64 * keep) as usize]).unwrap();
}

#[test]
fn truncated_files_are_refused() {
    for (form, file) in [
        ("f32", "model.safetensors"),
        ("f16-shards", "model-00002-of-00002.safetensors"),
        ("f16-bin", "pytorch_model.bin"),
        ("f16-bin-shards-buffers", "pytorch_model-00002-of-00003.bin"),
    ] {
        for keep in [0.0, 0.01, 0.5, 0.999] {
            let message = refused(form, |dir| truncate(&dir.join(file), keep));
            assert!(message.contains(file) && message.contains("not a readable file of weights"), "{message}");
        }
    }
}

#[test]
fn a_missing_shard_is_named() {
    let message = refused("f16-bin-shards-buffers", |dir| {
        fs::remove_file(dir.join("pytorch_model-00003-of-00003.bin")).unwrap();
    });
    assert!(message.contains("names DIR/pytorch_model-00003-of-00003.bin, which is not there"), "{message}");
    let message =
        refused("f16-shards", |dir| fs::write(dir.join("model.safetensors.index.json"), "{\"weight_map\": ").unwrap());
    assert!(message.contains("model.safetensors.index.json: not valid JSON"), "{message}");
    let message = refused("f16-shards", |dir| {
        fs::write(dir.join("model.safetensors.index.json"), "{\"weight_map\": {\"a\": \"../../etc/passwd\"}}").unwrap();
    });
    assert!(message.contains("is not a file name"), "{message}");
}

/// A changed byte in the pickle or in the archive's directory causes an error and no panic.
#[test]
fn corrupted_pickles_are_refused() {
    let whole = fs::read(fixture("formats/f16-bin/pytorch_model.bin")).unwrap();
    let at = whole.windows(8).position(|w| w == b"data.pkl").unwrap();
    // the pickle begins after its name and padding
    let pickle = at + whole[at..].windows(2).position(|w| w == b"\x80\x02").unwrap();
    for place in (pickle..pickle + 400).step_by(37) {
        let message = refused("f16-bin", |dir| {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x41;
            fs::write(dir.join("pytorch_model.bin"), bytes).unwrap();
        });
        assert!(message.contains("pytorch_model.bin: not a readable file of weights"), "{message}");
    }
    // the format of torch before version 1.6, and a file that is not a checkpoint
    for (bytes, what) in [
        (&b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..], "the format that PyTorch wrote before version 1.6"),
        (b"<html>404</html>", "it is a web page"),
        (b"PK\x05\x06", "PyTorch has written zip archives since 1.6"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "`git lfs pull`"),
        (b"\x1f\x8b\x08\x00", "compressed with gzip"),
    ] {
        let message = refused("f16-bin", |dir| fs::write(dir.join("pytorch_model.bin"), bytes).unwrap());
        assert!(message.contains(what) && message.contains("DIR/pytorch_model.bin: not a readable"), "{message}");
        let message = refused("f32", |dir| fs::write(dir.join("model.safetensors"), bytes).unwrap());
        assert!(message.contains("DIR/model.safetensors: not a readable"), "{message}");
    }
}

/// Parsing a JSON header takes many times its size, so its length is bounded.
#[test]
fn an_oversized_header_is_refused() {
    for (spaces, refusal) in [(1 << 20, None), (16 << 20, Some("header too large"))] {
        let copy = tempfile::tempdir().unwrap();
        fs::copy(fixture("formats/f32/config.json"), copy.path().join("config.json")).unwrap();
        let whole = fs::read(fixture("formats/f32/model.safetensors")).unwrap();
        let (length, rest) = whole.split_first_chunk::<8>().unwrap();
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
        let header = [&rest[..length], b" ".repeat(spaces).as_slice()].concat();
        let file = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &rest[length..]].concat();
        fs::write(copy.path().join("model.safetensors"), file).unwrap();
        match (load(copy.path()), refusal) {
            (Ok(_), None) => {}
            (Err(error), Some(reason)) => assert!(error.to_string().contains(reason), "{error}"),
            (loaded, _) => panic!("{spaces} spaces: {:?}", loaded.err().map(|error| error.to_string())),
        }
    }
}

/// Where a directory has several formats, the safest is used.
#[test]
fn safetensors_are_preferred_to_pickles() {
    let copy = tempfile::tempdir().unwrap();
    for (form, file) in [("f32", "config.json"), ("f32", "model.safetensors")] {
        fs::copy(fixture("formats").join(form).join(file), copy.path().join(file)).unwrap();
    }
    fs::write(copy.path().join("pytorch_model.bin"), "not read").unwrap();
    assert!(load(copy.path()).is_ok());
}

/// With a false pickle in an intact archive, nothing panics and nothing outside the file is read.
#[test]
fn corrupted_pickles_with_valid_checksums_are_refused() {
    let whole = fs::read(fixture("formats/f16-bin/pytorch_model.bin")).unwrap();
    let find = |what: &[u8]| whole.windows(what.len()).position(|w| w == what).unwrap();
    let name = find(b"/data.pkl");
    let pickle = name + whole[name..].windows(2).position(|w| w == b"\x80\x02").unwrap();
    let end = pickle + whole[pickle..].windows(4).position(|w| w == b"PK\x07\x08" || w == b"PK\x03\x04").unwrap();
    let checksum = |bytes: &[u8]| {
        // CRC-32, which the archive's directory and the end of the entry contain
        let mut crc = !0u32;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        !crc
    };
    let body_end = (pickle..end).rev().find(|at| whole[*at] == b'.').unwrap() + 1;
    let old = checksum(&whole[pickle..body_end]).to_le_bytes();
    let places: Vec<usize> =
        whole.windows(4).enumerate().filter(|(_, window)| *window == old).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the archive has no checksum");
    let mut refusals = 0;
    for place in (pickle + 2..body_end - 1).step_by(11) {
        let mut bytes = whole.clone();
        bytes[place] = bytes[place].wrapping_add(1);
        let new = checksum(&bytes[pickle..body_end]).to_le_bytes();
        for at in &places {
            bytes[*at..at + 4].copy_from_slice(&new);
        }
        let copy = tempfile::tempdir().unwrap();
        fs::copy(fixture("formats/f16-bin/config.json"), copy.path().join("config.json")).unwrap();
        fs::write(copy.path().join("pytorch_model.bin"), bytes).unwrap();
        refusals += usize::from(load(copy.path()).is_err());
    }
    assert!(refusals > 50, "only {refusals} were refused");
}
