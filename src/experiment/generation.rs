//! How the next token is drawn, and how many tokens and samples there are.

use crate::engine::Sampling;

/// The settings of generation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerationSettings {
    pub sampling: Sampling,
    /// New tokens of each text.
    pub count: usize,
    pub samples: u64,
}

impl Default for GenerationSettings {
    fn default() -> Self {
        Self { sampling: Sampling::GREEDY, count: 24, samples: 1 }
    }
}

/// One of the settings, by the name that `generate` has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationSetting {
    Temperature,
    TopK,
    TopP,
    Seed,
    Count,
    Samples,
}

/// Steps of top-k and of the number of tokens.
const KS: [usize; 9] = [1, 2, 5, 10, 20, 50, 100, 200, 500];
const COUNTS: [usize; 10] = [4, 8, 16, 24, 32, 64, 128, 256, 512, 1024];

impl GenerationSetting {
    pub const ALL: [Self; 6] = [Self::Temperature, Self::TopK, Self::TopP, Self::Seed, Self::Count, Self::Samples];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::TopK => "top-k",
            Self::TopP => "top-p",
            Self::Seed => "seed",
            Self::Count => "max-new-tokens",
            Self::Samples => "samples",
        }
    }

    /// On the screen.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Count => "tokens",
            Self::Temperature | Self::TopK | Self::TopP | Self::Seed | Self::Samples => self.name(),
        }
    }
}

impl GenerationSettings {
    /// The most samples that are shown.
    pub const SAMPLES: u64 = 64;

    /// The number of samples that differ: one where nothing is drawn.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        if self.sampling.temperature == 0.0 { 1 } else { self.samples }
    }

    /// A setting as text.
    #[must_use]
    pub fn value(&self, name: GenerationSetting) -> String {
        let Sampling { temperature, top_k, top_p, seed } = self.sampling;
        match name {
            GenerationSetting::Temperature => temperature.to_string(),
            GenerationSetting::TopK => top_k.map_or_else(|| "all".into(), |k| k.to_string()),
            GenerationSetting::TopP => top_p.unwrap_or(1.0).to_string(),
            GenerationSetting::Seed => seed.to_string(),
            GenerationSetting::Count => self.count.to_string(),
            GenerationSetting::Samples => self.samples.to_string(),
        }
    }

    /// Set one from text.
    ///
    /// # Errors
    /// What was expected.
    pub fn set(&mut self, name: GenerationSetting, text: &str) -> Result<(), String> {
        let number = || text.parse::<f64>().ok().filter(|number| number.is_finite());
        // those that a file can hold
        let whole = |least: i64| text.parse::<i64>().ok().filter(|number| *number >= least);
        let count = |number: i64| usize::try_from(number).ok();
        let wrong = |expected: &str| format!("`{text}`: {} takes {expected}", name.name());
        let sampling = &mut self.sampling;
        match name {
            GenerationSetting::Temperature => {
                let given = number().filter(|t| *t >= 0.0);
                sampling.temperature = given.ok_or_else(|| wrong("a number from 0; 0 takes the likeliest token"))?;
            }
            GenerationSetting::TopK if text == "all" => sampling.top_k = None,
            GenerationSetting::TopK => {
                sampling.top_k =
                    Some(whole(1).and_then(count).ok_or_else(|| wrong("a whole number from 1, or `all`"))?);
            }
            GenerationSetting::TopP => {
                let given = number().filter(|p| *p > 0.0 && *p <= 1.0);
                let share = given.ok_or_else(|| wrong("a number above 0, at most 1"))?;
                sampling.top_p = Some(share).filter(|share| *share < 1.0);
            }
            GenerationSetting::Seed => {
                let given = whole(0).and_then(|seed| u64::try_from(seed).ok());
                sampling.seed = given.ok_or_else(|| wrong("a whole number from 0 to 2^63 - 1"))?;
            }
            GenerationSetting::Count => {
                self.count = whole(1).and_then(count).ok_or_else(|| wrong("a whole number from 1"))?;
            }
            GenerationSetting::Samples => {
                let given = text.parse().ok().filter(|n| (1..=Self::SAMPLES).contains(n));
                self.samples = given.ok_or_else(|| wrong("a whole number from 1 to 64"))?;
            }
        }
        Ok(())
    }

    /// Raise or lower one by a suitable step.
    pub fn slide(&mut self, name: GenerationSetting, up: bool) {
        let Sampling { temperature, top_k, top_p, seed } = &mut self.sampling;
        let tenths = |x: f64, by: f64| ((x + if up { by } else { -by }) * 100.0).round() / 100.0;
        match name {
            GenerationSetting::Temperature => *temperature = tenths(*temperature, 0.1).max(0.0),
            GenerationSetting::TopK => {
                *top_k = match *top_k {
                    Some(k) if up => KS.into_iter().find(|next| *next > k),
                    Some(k) => Some(KS.into_iter().rev().find(|next| *next < k).unwrap_or(1)),
                    None if up => None,
                    None => KS.last().copied(),
                };
            }
            GenerationSetting::TopP => {
                *top_p = Some(tenths(top_p.unwrap_or(1.0), 0.05).max(0.05)).filter(|share| *share < 1.0);
            }
            GenerationSetting::Seed => {
                *seed = if up { (*seed + 1).min(i64::MAX.cast_unsigned()) } else { seed.saturating_sub(1) }
            }
            GenerationSetting::Count => {
                let now = self.count;
                let next = if up {
                    COUNTS.into_iter().find(|next| *next > now)
                } else {
                    COUNTS.into_iter().rev().find(|next| *next < now)
                };
                self.count = next.unwrap_or(now);
            }
            GenerationSetting::Samples => {
                self.samples = if up { (self.samples + 1).min(Self::SAMPLES) } else { (self.samples - 1).max(1) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_back_and_say_what_they_take() {
        let mut settings = GenerationSettings::default();
        for (name, text) in GenerationSetting::ALL.into_iter().zip(["0.8", "40", "0.95", "7", "12", "3"]) {
            settings.set(name, text).unwrap();
            assert_eq!(settings.value(name), text);
        }
        settings.set(GenerationSetting::TopK, "all").unwrap();
        settings.set(GenerationSetting::TopP, "1").unwrap();
        assert_eq!((settings.sampling.top_k, settings.sampling.top_p), (None, None));
        let before = settings;
        for (name, text) in GenerationSetting::ALL.into_iter().zip(["-1", "0", "1.5", "-1", "0", "65"]) {
            let why = settings.set(name, text).unwrap_err();
            assert!(why.contains(name.name()) && why.contains("takes a"), "{why}");
        }
        assert_eq!(settings, before, "a refused value changes nothing");
    }

    #[test]
    fn settings_slide_within_their_ranges() {
        let mut settings = GenerationSettings::default();
        for name in GenerationSetting::ALL {
            for up in [false, true, true] {
                for _ in 0..100 {
                    settings.slide(name, up);
                    let text = settings.value(name);
                    assert!(settings.set(name, &text).is_ok(), "{} {text}", name.name());
                }
            }
        }
        settings = GenerationSettings::default();
        settings.slide(GenerationSetting::Temperature, true);
        settings.slide(GenerationSetting::TopP, false);
        assert_eq!((settings.sampling.temperature, settings.sampling.top_p), (0.1, Some(0.95)));
    }
}
