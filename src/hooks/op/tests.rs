use super::*;
use crate::hooks::{Edit, operation_table};

/// The operation of the documentation's example.
fn example(operation: Operation) -> Op {
    let row = operation.row();
    (row.make)(row.example.1)
}

#[test]
fn every_operation_reads_back_as_it_is_written() {
    for operation in Operation::ALL {
        let op = example(operation);
        assert_eq!((op.operation(), op.to_string().parse()), (operation, Ok(op)));
        assert_eq!((operation.row().make)(op.arguments()), op);
        let with = [op.slid(true), op.slid(false)];
        assert_eq!(with.map(|op| op.to_string().parse()), with.map(Ok), "{op}");
    }
}

#[test]
fn the_documentation_has_every_operation() {
    let page = include_str!("../../../docs/edits.md");
    let table = operation_table() + "\n";
    assert!(page.contains(&table), "the table in docs/edits.md should be:\n{table}");
    for operation in Operation::ALL {
        let line = format!("{} {}", operation.row().example.0, example(operation));
        assert_eq!(line.parse::<Edit>().unwrap().to_string(), line);
        assert!(page.contains(&format!("\n    {line}\n")), "docs/edits.md should show the example:\n    {line}");
    }
}
