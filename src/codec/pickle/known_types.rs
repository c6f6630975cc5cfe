//! Objects with a JSON form: known types, matched by the steps that Python's pickler writes for them.

use std::borrow::Cow;

use super::{
    graph::{Graph, Node, NodeId, Step},
    integer::Int,
    opcode as op,
};

/// The JSON form of an object.
pub(super) enum JsonForm<'a> {
    /// A string, in ASCII without quotes and backslashes.
    Text(String),
    /// The form of another value.
    SameAs(NodeId),
    /// An object of the nodes among these steps, alternating keys and values.
    Dict(&'a [Step]),
}

/// Longer names and decimals match no type: many objects can share one, and each would pay for it.
const MAX_TEXT: usize = 1000;

impl Graph<'_> {
    /// `None` for values other than objects, and for objects of unknown types.
    pub(super) fn json_form(&self, id: NodeId) -> Option<JsonForm<'_>> {
        let (callable, arguments, rest) = self.call(id)?;
        let text = match (self.global_name(callable)?, arguments, rest) {
            (("datetime", "datetime"), [payload], []) => datetime(&self.bytes(*payload)?)?,
            (("datetime", "datetime"), [payload, zone], []) => {
                datetime(&self.bytes(*payload)?)? + &offset(self.zone(*zone)?)
            }
            (("datetime", "date"), [payload], []) => date(&self.bytes(*payload)?)?,
            (("decimal", "Decimal"), [text], []) => self.decimal(*text)?,
            (("uuid", "UUID"), [], [Step::Node(state), Step::Op(op::BUILD)]) => self.uuid(*state)?,
            // Protocols 0 and 1.
            (("copyreg", "_reconstructor"), [class, ..], [Step::Node(state), Step::Op(op::BUILD)])
                if self.is(*class, "uuid", "UUID") =>
            {
                self.uuid(*state)?
            }
            (("collections", "OrderedDict"), [], items)
            | (("collections", "defaultdict"), [] | [_], items) => {
                return only_set_items(items).then_some(JsonForm::Dict(items));
            }
            (("django.utils.safestring", "SafeString" | "SafeText"), [text], [])
            | (
                ("django.utils.safestring", "SafeString" | "SafeText"),
                [text],
                [Step::Node(_), Step::Op(op::BUILD)],
            ) if matches!(self.node(*text), Node::Str(_)) => return Some(JsonForm::SameAs(*text)),
            _ => return None,
        };
        Some(JsonForm::Text(text))
    }

    /// The class of a value for display: `module.Class`, or `list`.
    pub(super) fn class_name(&self, id: NodeId) -> Cow<'_, str> {
        let name = match self.node(id) {
            Node::List(_) => "list",
            Node::Tuple(_) => "tuple",
            Node::Dict(_) => "dict",
            Node::Set(_) => "set",
            Node::FrozenSet(_) => "frozenset",
            Node::Bytes(_) => "bytes",
            Node::ByteArray(_) => "bytearray",
            Node::Str(_) => "str",
            Node::Global(..) => return self.full_name(id),
            Node::Object(steps) => return self.object_class_name(id, steps),
            Node::None | Node::Bool(_) | Node::Int(_) | Node::Float(_) => "scalar",
        };
        name.into()
    }

    fn object_class_name(&self, id: NodeId, steps: &[Step]) -> Cow<'_, str> {
        match self.call(id) {
            Some((callable, [first, ..], _)) => match self.global_name(callable) {
                // An enum member, as some versions of Python pickle it.
                Some(("builtins", "getattr")) => self.full_name(*first),
                Some(("_codecs", "encode")) => "bytes".into(),
                // A helper that takes the class, such as copyreg._reconstructor.
                Some((_, name)) if name.starts_with('_') && self.is_class(*first) => self.full_name(*first),
                _ => self.full_name(callable),
            },
            Some((callable, [], _)) => self.full_name(callable),
            None => match steps {
                [Step::Op(op::MARK), Step::Node(class), ..] | [Step::Node(class), ..] => {
                    self.full_name(*class)
                }
                _ => "object".into(),
            },
        }
    }

    fn is_class(&self, id: NodeId) -> bool {
        matches!(self.node(id), Node::Global(..)) || self.attribute(id).is_some()
    }

    /// A class and the name of its attribute. Protocols below 4 pickle a nested class so.
    fn attribute(&self, id: NodeId) -> Option<(NodeId, &str)> {
        match self.call(id)? {
            (getattr, [class, name], []) if self.is(getattr, "builtins", "getattr") => {
                Some((*class, self.str(*name)?))
            }
            _ => None,
        }
    }

    fn full_name(&self, mut class: NodeId) -> Cow<'_, str> {
        let mut inner = Vec::new();
        while let Some((outer, name)) = self.attribute(class) {
            inner.push(name);
            class = outer;
        }
        let mut name = match self.global_name(class) {
            Some(("builtins", name)) => Cow::from(name),
            Some((module, name)) => format!("{module}.{name}").into(),
            // The result of a call.
            None => "object".into(),
        };
        for part in inner.iter().rev() {
            name.to_mut().extend([".", part]);
        }
        // The name may be logged.
        if name.contains(char::is_control) { name.replace(char::is_control, "?").into() } else { name }
    }

    /// The callable, its arguments, and the steps after the call.
    fn call(&self, id: NodeId) -> Option<(NodeId, &[NodeId], &[Step])> {
        match self.node(id) {
            Node::Object(steps) => match steps.as_slice() {
                [
                    Step::Node(callable),
                    Step::Node(arguments),
                    Step::Op(op::REDUCE | op::NEWOBJ),
                    rest @ ..,
                ] => match self.node(*arguments) {
                    Node::Tuple(arguments) => Some((*callable, arguments, rest)),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// The module and name of a class or function in Python 3.
    fn global_name(&self, id: NodeId) -> Option<(&str, &str)> {
        let Node::Global(module, name) = self.node(id) else { return None };
        let (module, name) = (self.str(*module)?, self.str(*name)?);
        // Protocols below 3 use Python 2's names. Only these matter here.
        Some(match (module, name) {
            _ if self.protocol >= 3 => (module, name),
            ("__builtin__", "xrange") => ("builtins", "range"),
            ("__builtin__" | "exceptions", _) => ("builtins", name),
            ("copy_reg", _) => ("copyreg", name),
            _ => (module, name),
        })
    }

    fn is(&self, id: NodeId, module: &str, name: &str) -> bool {
        self.global_name(id) == Some((module, name))
    }

    fn str(&self, id: NodeId) -> Option<&str> {
        match self.node(id) {
            Node::Str(text) if text.len() <= MAX_TEXT => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    fn int(&self, id: NodeId) -> Option<i64> {
        match self.node(id) {
            Node::Int(Int::Small(value)) => Some(*value),
            _ => None,
        }
    }

    /// Bytes. Protocols below 3 pickle them as a call that encodes text.
    fn bytes(&self, id: NodeId) -> Option<Cow<'_, [u8]>> {
        if let Node::Bytes(bytes) = self.node(id) {
            return Some(Cow::Borrowed(bytes));
        }
        let (callable, [text, _encoding], []) = self.call(id)? else { return None };
        if !self.is(callable, "_codecs", "encode") {
            return None;
        }
        let Node::Str(text) = self.node(*text) else { return None };
        // Dates are shorter.
        let text = std::str::from_utf8(text.get(..64.min(text.len()))?).ok()?;
        text.chars().map(|c| u8::try_from(c).ok()).collect::<Option<Vec<u8>>>().map(Cow::Owned)
    }

    fn decimal(&self, id: NodeId) -> Option<String> {
        let text = self.str(id)?;
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        plain.then(|| text.to_owned())
    }

    fn uuid(&self, state: NodeId) -> Option<String> {
        let Node::Dict(pairs) = self.node(state) else { return None };
        let mut ints = pairs.iter().filter(|[key, _]| self.str(*key) == Some("int"));
        let (Some([_, int]), None) = (ints.next(), ints.next()) else { return None };
        let value = match self.node(*int) {
            Node::Int(Int::Small(value)) => u128::try_from(*value).ok()?,
            Node::Int(Int::Big(bytes)) => {
                let mut all = [0; 17];
                all.get_mut(..bytes.len())?.copy_from_slice(bytes);
                let [low @ .., high] = all;
                let negative = bytes.last()? & 0x80 != 0;
                (!negative && high == 0).then(|| u128::from_le_bytes(low))?
            }
            _ => return None,
        };
        let hex = format!("{value:032x}");
        Some([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
    }

    /// The offset of a fixed time zone, as days, seconds and microseconds of a `timedelta`.
    fn zone(&self, id: NodeId) -> Option<[i64; 3]> {
        let (callable, arguments, rest) = self.call(id)?;
        match (self.global_name(callable), arguments, rest) {
            (Some(("datetime", "timezone")), [delta] | [delta, _], []) => {
                let (callable, arguments, []) = self.call(*delta)? else { return None };
                let [days, seconds, micros] = arguments else { return None };
                let offset = [self.int(*days)?, self.int(*seconds)?, self.int(*micros)?];
                self.is(callable, "datetime", "timedelta").then_some(offset)
            }
            // Django up to 3.2 uses pytz.
            (Some(("pytz", "_UTC")), [], []) => Some([0; 3]),
            // zoneinfo.ZoneInfo("UTC"), which a class method restores.
            (None, [key, ..], []) if self.str(*key) == Some("UTC") => match self.attribute(callable)? {
                (class, "_unpickle") if self.is(class, "zoneinfo", "ZoneInfo") => Some([0; 3]),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Returns whether the steps after construction only set items.
fn only_set_items(steps: &[Step]) -> bool {
    let mut even = true;
    steps.iter().all(|step| match step {
        Step::Node(_) => {
            even = !even;
            true
        }
        Step::Op(opcode) => even && matches!(*opcode, op::MARK | op::SETITEM | op::SETITEMS),
    })
}

fn date(payload: &[u8]) -> Option<String> {
    let [century, year, month, day] = *payload else { return None };
    let year = u16::from_be_bytes([century, year]);
    let real = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    real.then(|| format!("{year:04}-{month:02}-{day:02}"))
}

fn datetime(payload: &[u8]) -> Option<String> {
    let [century, year, month, day, hour, minute, second, high, middle, low] = *payload else { return None };
    // The highest bit of the month is the fold, which isoformat() does not show.
    let date = date(&[century, year, month & 0x7f, day])?;
    let micros = u32::from_be_bytes([0, high, middle, low]);
    if hour > 23 || minute > 59 || second > 59 || micros > 999_999 {
        return None;
    }
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}"))
}

/// The offset as `isoformat()` writes it. Python's offsets are shorter than a day.
fn offset([days, seconds, micros]: [i64; 3]) -> String {
    let total = days.saturating_mul(86_400_000_000).saturating_add(seconds.saturating_mul(1_000_000));
    let total = total.saturating_add(micros);
    let (sign, rest) = (if total < 0 { '-' } else { '+' }, total.unsigned_abs());
    let (minutes, seconds, micros) = (rest / 60_000_000, rest / 1_000_000 % 60, rest % 1_000_000);
    let mut text = format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60);
    if seconds > 0 || micros > 0 {
        text += &format!(":{seconds:02}");
    }
    if micros > 0 {
        text += &format!(".{micros:06}");
    }
    text
}
