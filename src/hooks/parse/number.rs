//! Numbers of the grammar.

/// Why a text is not a number of the grammar.
pub(crate) enum NoNumber {
    Missing,
    /// It is too large or too small.
    Range(String),
    Other,
}

/// A number as edits and predicates write it: decimal, or `inf` and `-inf`.
pub(crate) fn read_number(text: &str) -> Result<f32, NoNumber> {
    match text {
        "inf" | "+inf" => return Ok(f32::INFINITY),
        "-inf" => return Ok(f32::NEG_INFINITY),
        "" => return Err(NoNumber::Missing),
        _ => {}
    }
    // Rust would also read `infinity` and `nan`; neither is in the grammar.
    match text.parse::<f32>() {
        Ok(0.0)
            if text.contains(|c: char| ('1'..='9').contains(&c))
                && !text.trim_start_matches(['+', '-', '0', '.']).starts_with(['e', 'E']) =>
        {
            Err(NoNumber::Range(format!("{text} is too small for f32")))
        }
        Ok(x) if x.is_finite() && !text.contains(['n', 'N', 'y', 'Y']) => Ok(x),
        Ok(x) if x.is_infinite() && text.bytes().any(|b| b.is_ascii_digit()) => {
            Err(NoNumber::Range(format!("{text} is too large for f32")))
        }
        _ => Err(NoNumber::Other),
    }
}
