//! The objects that have a JSON form: recognised by the recipe that Python's own library writes for them.

use std::borrow::Cow;

use super::{
    graph::{Graph, Id, Node, Piece},
    opcode as op,
};

/// The JSON form of an object.
pub(super) enum Form<'a> {
    /// Text of ASCII without quotes or backslashes.
    Text(String),
    /// That of another value.
    As(Id),
    /// That of a dict of the nodes among these, keys and values in turn.
    Dict(&'a [Piece]),
}

/// Names and decimal numbers that are longer are not looked at, as many objects may share one.
const LONGEST_TEXT: usize = 1000;

impl Graph<'_> {
    /// `None` if it is no object, or has no such form.
    pub(super) fn form(&self, id: Id) -> Option<Form<'_>> {
        let (called, arguments, rest) = self.call(id)?;
        let text = match (self.name(called)?, arguments, rest) {
            (("datetime", "datetime"), [payload], []) => datetime(&self.bytes(*payload)?)?,
            (("datetime", "datetime"), [payload, zone], []) => {
                datetime(&self.bytes(*payload)?)? + &offset(self.zone(*zone)?)
            }
            (("datetime", "date"), [payload], []) => date(&self.bytes(*payload)?)?,
            (("decimal", "Decimal"), [text], []) => self.decimal(*text)?,
            (("uuid", "UUID"), [], [Piece::Node(state), Piece::Op(op::BUILD)]) => self.uuid(*state)?,
            // As protocols 0 and 1 have it.
            (("copyreg", "_reconstructor"), [class, ..], [Piece::Node(state), Piece::Op(op::BUILD)])
                if self.is(*class, "uuid", "UUID") =>
            {
                self.uuid(*state)?
            }
            (("collections", "OrderedDict"), [], items)
            | (("collections", "defaultdict"), [] | [_], items) => {
                return only_sets_items(items).then_some(Form::Dict(items));
            }
            (("django.utils.safestring", "SafeString" | "SafeText"), [text], [])
            | (
                ("django.utils.safestring", "SafeString" | "SafeText"),
                [text],
                [Piece::Node(_), Piece::Op(op::BUILD)],
            ) if matches!(self.node(*text), Node::Str(_)) => return Some(Form::As(*text)),
            _ => return None,
        };
        Some(Form::Text(text))
    }

    /// What is known of the class of a value that has no form in JSON: `module.Class`, or `list`.
    pub(super) fn class(&self, id: Id) -> Cow<'_, str> {
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
            Node::Object(pieces) => return self.class_of(id, pieces),
            Node::None | Node::Bool(_) | Node::Int(_) | Node::Big(_) | Node::Float(_) => "scalar",
        };
        name.into()
    }

    fn class_of(&self, id: Id, pieces: &[Piece]) -> Cow<'_, str> {
        match self.call(id) {
            Some((called, [first, ..], _)) => match self.name(called) {
                // A member of an enumeration, as some Pythons write it.
                Some(("builtins", "getattr")) => self.full_name(*first),
                Some(("_codecs", "encode")) => "bytes".into(),
                // A helper that makes an object of the class that it is given, such as copyreg._reconstructor.
                Some((_, name)) if name.starts_with('_') && self.is_class(*first) => self.full_name(*first),
                _ => self.full_name(called),
            },
            Some((called, [], _)) => self.full_name(called),
            None => match pieces {
                [Piece::Op(op::MARK), Piece::Node(class), ..] | [Piece::Node(class), ..] => {
                    self.full_name(*class)
                }
                _ => "object".into(),
            },
        }
    }

    fn is_class(&self, id: Id) -> bool {
        matches!(self.node(id), Node::Global(..)) || self.attribute(id).is_some()
    }

    /// The class and the name of what it has, if it is that: as protocols below 4 have a class inside a class.
    fn attribute(&self, id: Id) -> Option<(Id, &str)> {
        match self.call(id)? {
            (getattr, [class, name], []) if self.is(getattr, "builtins", "getattr") => {
                Some((*class, self.str(*name)?))
            }
            _ => None,
        }
    }

    fn full_name(&self, mut class: Id) -> Cow<'_, str> {
        let mut inner = Vec::new();
        while let Some((outer, name)) = self.attribute(class) {
            inner.push(name);
            class = outer;
        }
        let mut name = match self.name(class) {
            Some(("builtins", name)) => Cow::from(name),
            Some((module, name)) => format!("{module}.{name}").into(),
            // What a call has made.
            None => "object".into(),
        };
        for part in inner.iter().rev() {
            name.to_mut().extend([".", part]);
        }
        // It may come to a log.
        if name.contains(char::is_control) { name.replace(char::is_control, "?").into() } else { name }
    }

    /// What is called with which arguments, and what follows.
    fn call(&self, id: Id) -> Option<(Id, &[Id], &[Piece])> {
        match self.node(id) {
            Node::Object(pieces) => match pieces.as_slice() {
                [
                    Piece::Node(called),
                    Piece::Node(arguments),
                    Piece::Op(op::REDUCE | op::NEWOBJ),
                    rest @ ..,
                ] => match self.node(*arguments) {
                    Node::Tuple(arguments) => Some((*called, arguments, rest)),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// Module and name of a class or function, as Python 3 calls them.
    fn name(&self, id: Id) -> Option<(&str, &str)> {
        let Node::Global(module, name) = self.node(id) else { return None };
        let (module, name) = (self.str(*module)?, self.str(*name)?);
        // Below protocol 3 they are Python 2's. These are the ones that matter for a name to show.
        Some(match (module, name) {
            _ if self.protocol >= 3 => (module, name),
            ("__builtin__", "xrange") => ("builtins", "range"),
            ("__builtin__" | "exceptions", _) => ("builtins", name),
            ("copy_reg", _) => ("copyreg", name),
            _ => (module, name),
        })
    }

    fn is(&self, id: Id, module: &str, name: &str) -> bool {
        self.name(id) == Some((module, name))
    }

    fn str(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Str(text) if text.len() <= LONGEST_TEXT => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Bytes; below protocol 3 they are a call that makes them of text.
    fn bytes(&self, id: Id) -> Option<Cow<'_, [u8]>> {
        if let Node::Bytes(bytes) = self.node(id) {
            return Some(Cow::Borrowed(bytes));
        }
        let (called, [text, _encoding], []) = self.call(id)? else { return None };
        if !self.is(called, "_codecs", "encode") {
            return None;
        }
        let Node::Str(text) = self.node(*text) else { return None };
        // No date is longer.
        let text = std::str::from_utf8(text.get(..64.min(text.len()))?).ok()?;
        text.chars().map(|c| u8::try_from(c).ok()).collect::<Option<Vec<u8>>>().map(Cow::Owned)
    }

    fn decimal(&self, id: Id) -> Option<String> {
        let text = self.str(id)?;
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        plain.then(|| text.to_owned())
    }

    fn uuid(&self, state: Id) -> Option<String> {
        let Node::Dict(pairs) = self.node(state) else { return None };
        let [(_, int)] =
            pairs.iter().filter(|(key, _)| self.str(*key) == Some("int")).collect::<Vec<_>>()[..]
        else {
            return None;
        };
        let value = match self.node(*int) {
            Node::Int(value) => u128::try_from(*value).ok()?,
            Node::Big(bytes) => {
                // Positive, so that what is above 128 bits can only be the byte for the sign.
                let mut all = [0; 16];
                let (bytes, sign) = bytes.split_at(bytes.len().min(16));
                if !matches!(sign, [] | [0]) || (sign.is_empty() && bytes.last()? & 0x80 != 0) {
                    return None;
                }
                all.get_mut(..bytes.len())?.copy_from_slice(bytes);
                u128::from_le_bytes(all)
            }
            _ => return None,
        };
        let hex = format!("{value:032x}");
        Some([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
    }

    /// The offset of a fixed time zone, as days, seconds and microseconds of a `timedelta`.
    fn zone(&self, id: Id) -> Option<[i64; 3]> {
        let (called, arguments, rest) = self.call(id)?;
        match (self.name(called), arguments, rest) {
            (Some(("datetime", "timezone")), [delta] | [delta, _], []) => {
                let (called, arguments, []) = self.call(*delta)? else { return None };
                let [days, seconds, micros] = arguments else { return None };
                let parts = [self.int(*days)?, self.int(*seconds)?, self.int(*micros)?];
                self.is(called, "datetime", "timedelta").then_some(parts)
            }
            // pytz, as Django up to 3.2 has it.
            (Some(("pytz", "_UTC")), [], []) => Some([0; 3]),
            // zoneinfo.ZoneInfo("UTC"), made by a method of the class.
            (None, [key, ..], []) if self.str(*key) == Some("UTC") => match self.attribute(called)? {
                (class, "_unpickle") if self.is(class, "zoneinfo", "ZoneInfo") => Some([0; 3]),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether nothing else is done to a new mapping.
fn only_sets_items(pieces: &[Piece]) -> bool {
    let mut even = true;
    pieces.iter().all(|piece| match piece {
        Piece::Node(_) => {
            even = !even;
            true
        }
        Piece::Op(opcode) => even && matches!(*opcode, op::MARK | op::SETITEM | op::SETITEMS),
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
    // The month's highest bit is the fold: the second of two equal local times.
    let date = date(&[century, year, month & 0x7f, day])?;
    let micros = u32::from_be_bytes([0, high, middle, low]);
    if hour > 23 || minute > 59 || second > 59 || micros > 999_999 {
        return None;
    }
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}"))
}

/// As `isoformat()` has it. Offsets of Python's are shorter than a day.
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
