//! Generated messages and the gRPC service, and their way to and from the plain types.

#![expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

tonic::include_proto!("skerry.v1");

impl From<&crate::Value> for Value {
    fn from(value: &crate::Value) -> Self {
        use value::Kind;
        let kind = match value {
            crate::Value::Boolean(x) => Some(Kind::Boolean(*x)),
            crate::Value::Integer(x) => Some(Kind::Integer(*x)),
            crate::Value::Float(x) => Some(Kind::Float(*x)),
            crate::Value::Text(x) => Some(Kind::Text(x.clone())),
            crate::Value::Date(x) => Some(Kind::Date(*x)),
            crate::Value::Timestamp(x) => Some(Kind::Timestamp(*x)),
            crate::Value::Null => None,
        };
        Self { kind }
    }
}

impl From<&Value> for crate::Value {
    fn from(value: &Value) -> Self {
        use value::Kind;
        match &value.kind {
            Some(Kind::Boolean(x)) => Self::Boolean(*x),
            Some(Kind::Integer(x)) => Self::Integer(*x),
            Some(Kind::Float(x)) => Self::Float(*x),
            Some(Kind::Text(x)) => Self::Text(x.clone()),
            Some(Kind::Date(x)) => Self::Date(*x),
            Some(Kind::Timestamp(x)) => Self::Timestamp(*x),
            None => Self::Null,
        }
    }
}

impl From<crate::DataType> for DataType {
    fn from(data_type: crate::DataType) -> Self {
        match data_type {
            crate::DataType::Boolean => Self::Boolean,
            crate::DataType::Integer => Self::Integer,
            crate::DataType::Float => Self::Float,
            crate::DataType::Text => Self::Text,
            crate::DataType::Date => Self::Date,
            crate::DataType::Timestamp => Self::Timestamp,
        }
    }
}

impl DataType {
    /// The plain type, or nothing when the sender left it out.
    #[must_use]
    pub fn to_plain(self) -> Option<crate::DataType> {
        match self {
            Self::Unspecified => None,
            Self::Boolean => Some(crate::DataType::Boolean),
            Self::Integer => Some(crate::DataType::Integer),
            Self::Float => Some(crate::DataType::Float),
            Self::Text => Some(crate::DataType::Text),
            Self::Date => Some(crate::DataType::Date),
            Self::Timestamp => Some(crate::DataType::Timestamp),
        }
    }
}
