//! How columns and metadata appear in Parquet's schema.

use std::sync::Arc;

use parquet::{
    basic::{LogicalType, Repetition, Type as Physical},
    errors::ParquetError,
    file::metadata::KeyValue,
    schema::types::{SchemaDescriptor, Type},
};

use super::{Column, Columns, Kind, Metadata};

/// The schema: each column is optional, an `INT64`, a `DOUBLE` or a `BYTE_ARRAY` annotated as a string.
pub(super) fn schema(columns: &Columns) -> Result<Arc<Type>, ParquetError> {
    let field = |column: &Column| {
        let (physical, logical) = match column.kind {
            Kind::Int => (Physical::INT64, None),
            Kind::Float => (Physical::DOUBLE, None),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let field = Type::primitive_type_builder(&column.name, physical);
        Ok(Arc::new(field.with_repetition(Repetition::OPTIONAL).with_logical_type(logical).build()?))
    };
    let fields = columns.0.iter().map(field).collect::<Result<_, ParquetError>>()?;
    Ok(Arc::new(Type::group_type_builder("table").with_fields(fields).build()?))
}

/// The columns of a schema. Other programs may have written smaller numbers, or required ones.
///
/// # Errors
/// A column that is nested or of another type.
pub(super) fn columns(schema: &SchemaDescriptor) -> Result<Columns, String> {
    let column = |column: &Arc<parquet::schema::types::ColumnDescriptor>| {
        let name = column.path().string();
        if column.max_rep_level() > 0 || column.max_def_level() > 1 {
            return Err(format!("the column {name:?} is nested; expected plain columns"));
        }
        let kind = match column.physical_type() {
            Physical::BOOLEAN | Physical::INT32 | Physical::INT64 => Kind::Int,
            Physical::FLOAT | Physical::DOUBLE => Kind::Float,
            Physical::BYTE_ARRAY => Kind::Text,
            Physical::INT96 | Physical::FIXED_LEN_BYTE_ARRAY => {
                let kind = column.physical_type();
                return Err(format!("the column {name:?} is of type {kind}; expected whole numbers, floats or text"));
            }
        };
        Ok(Column { name, kind })
    };
    schema.columns().iter().map(column).collect::<Result<_, _>>().map(Columns)
}

pub(super) fn key_values(metadata: &Metadata) -> Vec<KeyValue> {
    metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect()
}

pub(super) fn metadata(pairs: Option<&Vec<KeyValue>>) -> Metadata {
    let pairs = pairs.into_iter().flatten();
    pairs.filter_map(|pair| Some((pair.key.clone(), pair.value.clone()?))).collect()
}
