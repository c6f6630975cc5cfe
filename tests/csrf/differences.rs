//! Where we leave Django on purpose.

use serde_json::Value;

pub(super) fn expected(
    _request: &Value,
    _django: &Value,
    _settings: &Value,
) -> Option<(&'static str, Value)> {
    None
}
