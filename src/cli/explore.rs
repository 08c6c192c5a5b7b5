use anyhow::Result;
use super::args::ExploreArgs;
pub(super) fn main(_args: &ExploreArgs) -> Result<()> { Ok(()) }
