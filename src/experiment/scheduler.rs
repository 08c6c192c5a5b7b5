//! The variables in which schedulers number the tasks of an array.

use super::shard::Shard;

/// How a scheduler numbers its tasks.
struct Scheduler {
    name: &'static str,
    /// The number of this task.
    number: &'static str,
    /// The lowest number; None where it is 0.
    first: Option<&'static str>,
    /// The highest number.
    last: Option<&'static str>,
    /// The distance of numbers.
    step: Option<&'static str>,
    /// The number of tasks.
    count: Option<&'static str>,
}

const SCHEDULERS: [Scheduler; 4] = [
    Scheduler {
        name: "Slurm",
        number: "SLURM_ARRAY_TASK_ID",
        first: Some("SLURM_ARRAY_TASK_MIN"),
        last: Some("SLURM_ARRAY_TASK_MAX"),
        step: Some("SLURM_ARRAY_TASK_STEP"),
        count: Some("SLURM_ARRAY_TASK_COUNT"),
    },
    Scheduler {
        name: "Grid Engine",
        number: "SGE_TASK_ID",
        first: Some("SGE_TASK_FIRST"),
        last: Some("SGE_TASK_LAST"),
        step: Some("SGE_TASK_STEPSIZE"),
        count: None,
    },
    Scheduler {
        name: "AWS Batch",
        number: "AWS_BATCH_JOB_ARRAY_INDEX",
        first: None,
        last: None,
        step: None,
        count: Some("AWS_BATCH_JOB_ARRAY_SIZE"),
    },
    Scheduler {
        name: "Kubernetes",
        number: "JOB_COMPLETION_INDEX",
        first: None,
        last: None,
        step: None,
        // Kubernetes sets no such variable itself; docs/cluster.md does
        count: Some("JOB_COMPLETIONS"),
    },
];

/// The shard of this task.
///
/// # Errors
/// No scheduler's variables are set, or they name no shard.
pub(super) fn shard(variable: impl Fn(&str) -> Option<String>) -> Result<Shard, String> {
    // Grid Engine sets it to "undefined" outside an array
    let is_set = |scheduler: &&Scheduler| variable(scheduler.number).is_some_and(|value| value != "undefined");
    let Some(scheduler) = SCHEDULERS.iter().find(is_set) else {
        let names: Vec<&str> = SCHEDULERS.iter().map(|scheduler| scheduler.number).collect();
        return Err(format!(
            "--shard auto: none of {} is set; expected --shard I/N outside an array",
            names.join(", ")
        ));
    };
    scheduler.shard(variable).map_err(|reason| format!("--shard auto, {}: {reason}", scheduler.name))
}

impl Scheduler {
    fn shard(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Shard, String> {
        let read = |name: &str| -> Result<Option<usize>, String> {
            let Some(text) = variable(name) else { return Ok(None) };
            let number = text.trim().parse();
            number.map(Some).map_err(|_| format!("{name} is {text:?}; expected a whole number"))
        };
        let optional = |name: Option<&str>| name.map_or(Ok(None), read);
        let number = read(self.number)?.ok_or_else(|| format!("{} is not set", self.number))?;
        let (first, last) = (optional(self.first)?.unwrap_or(0), optional(self.last)?);
        let step = optional(self.step)?.unwrap_or(1).max(1);
        let counted = last.and_then(|last| last.checked_sub(first)).map(|range| range / step + 1);
        let needs = self.count.or(self.last).unwrap_or_default();
        let of = optional(self.count)?.or(counted);
        let of = of.ok_or_else(|| format!("{needs} is not set; expected the number of tasks in it, or --shard I/N"))?;
        // a part of an array that is submitted again would be taken for all of it
        if first > 1 || counted.is_some_and(|counted| counted != of) {
            return Err(format!(
                "the array is not numbered from 0 or 1 without gaps; to run one task again, give --shard {number}/N"
            ));
        }
        let at = number.checked_sub(first).map(|after| after / step).filter(|at| *at < of);
        let at = at.ok_or_else(|| format!("{} is {number}, and there are {of} tasks", self.number))?;
        Ok(Shard { at, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Result<(usize, usize), String> {
        let get = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_string());
        shard(get).map(|Shard { at, of }| (at, of))
    }

    fn slurm(id: &str, min: &str, max: &str, step: &str, count: &str) -> Result<(usize, usize), String> {
        found(&[
            ("SLURM_ARRAY_TASK_ID", id),
            ("SLURM_ARRAY_TASK_MIN", min),
            ("SLURM_ARRAY_TASK_MAX", max),
            ("SLURM_ARRAY_TASK_STEP", step),
            ("SLURM_ARRAY_TASK_COUNT", count),
        ])
    }

    #[test]
    fn each_scheduler_says_which_shard_this_is() {
        assert_eq!(slurm("0", "0", "8", "1", "9"), Ok((0, 9)));
        assert_eq!(slurm("9", "1", "9", "1", "9"), Ok((8, 9)));
        assert_eq!(slurm("21", "1", "41", "10", "5"), Ok((2, 5)));
        let sge = [("SGE_TASK_ID", "5"), ("SGE_TASK_FIRST", "1"), ("SGE_TASK_LAST", "10"), ("SGE_TASK_STEPSIZE", "2")];
        assert_eq!(found(&sge), Ok((2, 5)));
        assert_eq!(found(&[("AWS_BATCH_JOB_ARRAY_INDEX", "2"), ("AWS_BATCH_JOB_ARRAY_SIZE", "3")]), Ok((2, 3)));
        let kubernetes = [("SGE_TASK_ID", "undefined"), ("JOB_COMPLETION_INDEX", "0"), ("JOB_COMPLETIONS", "64")];
        assert_eq!(found(&kubernetes), Ok((0, 64)));
    }

    #[test]
    fn what_names_no_shard_is_refused() {
        let refused = |found: Result<(usize, usize), String>, reason: &str| {
            let error = found.unwrap_err();
            assert!(error.contains(reason), "{error}");
        };
        refused(found(&[]), "none of SLURM_ARRAY_TASK_ID");
        refused(slurm("3", "3", "3", "1", "1"), "to run one task again, give --shard 3/N");
        refused(slurm("1", "1", "7", "1", "3"), "without gaps");
        refused(slurm("x", "0", "8", "1", "9"), "SLURM_ARRAY_TASK_ID is \"x\"");
        refused(found(&[("JOB_COMPLETION_INDEX", "0")]), "JOB_COMPLETIONS is not set");
        refused(found(&[("JOB_COMPLETION_INDEX", "3"), ("JOB_COMPLETIONS", "3")]), "there are 3 tasks");
    }
}
