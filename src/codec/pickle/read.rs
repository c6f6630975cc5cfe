//! Reads a pickle's opcodes into a graph. Nothing is called, imported or followed.

use super::{
    Broken,
    graph::{EMPTY_TUPLE, FALSE, Graph, Id, NONE, Node, TRUE},
    input::Input,
    lines,
    machine::Machine,
    number, opcode as op,
};
use crate::Error;

/// The newest protocol that there is.
const NEWEST: u8 = 5;

/// Errors if the pickle is broken, or needs what no session has. What follows its end is ignored, as in Python.
pub(super) fn read(bytes: &[u8]) -> Result<Graph<'_>, Error> {
    let (mut input, mut machine, mut protocol) = (Input::new(bytes), Machine::new(), 0);
    let root = loop {
        match step(&mut input, &mut machine, &mut protocol) {
            Ok(None) => {}
            Ok(Some(root)) => break root,
            Err(Broken(what)) => {
                let at = input.at;
                return Err(Error::unreadable(format!(
                    "the session's pickle cannot be read at byte {at}: {what}"
                )));
            }
        }
    };
    Ok(machine.into_graph(root, protocol))
}

/// Does what one opcode says; the value of the whole if it is the last.
fn step<'a>(input: &mut Input<'a>, to: &mut Machine<'a>, protocol: &mut u8) -> Result<Option<Id>, Broken> {
    match input.byte()? {
        op::STOP => return to.pop().map(Some),
        op::PROTO => *protocol = proto(input)?,
        op::FRAME => input.frame()?,
        op::MARK => to.mark(),
        op::POP => to.pop_any()?,
        op::POP_MARK => drop(to.since_mark()?),
        op::DUP => to.dup()?,

        op::PUT => to.put(lines::index(input.line()?)?)?,
        op::BINPUT => to.put(input.number::<1>()?)?,
        op::LONG_BINPUT => to.put(input.number::<4>()?)?,
        op::MEMOIZE => to.memoize()?,
        op::GET => to.get(lines::index(input.line()?)?)?,
        op::BINGET => to.get(input.number::<1>()?)?,
        op::LONG_BINGET => to.get(input.number::<4>()?)?,

        op::NONE => to.push_known(NONE),
        op::NEWTRUE => to.push_known(TRUE),
        op::NEWFALSE => to.push_known(FALSE),
        op::INT => match input.line()? {
            b"00" => to.push_known(FALSE),
            b"01" => to.push_known(TRUE),
            line => to.integer(lines::integer(line)?)?,
        },
        op::LONG => {
            let line = input.line()?;
            to.integer(lines::integer(line.strip_suffix(b"L").unwrap_or(line))?)?;
        }
        op::BININT => to.push(Node::Int(i32::from_le_bytes(input.array()?).into()))?,
        op::BININT1 => to.push(Node::Int(input.byte()?.into()))?,
        op::BININT2 => to.push(Node::Int(u16::from_le_bytes(input.array()?).into()))?,
        op::LONG1 => to.integer(number::from_bytes(input.counted::<1>()?)?)?,
        op::LONG4 => to.integer(number::from_bytes(input.signed_counted()?)?)?,
        op::FLOAT => to.push(Node::Float(lines::float(input.line()?)?))?,
        op::BINFLOAT => to.push(Node::Float(f64::from_be_bytes(input.array()?)))?,

        op::STRING => to.ascii(lines::string(input.line()?)?)?,
        op::BINSTRING => to.ascii(input.signed_counted()?)?,
        op::SHORT_BINSTRING => to.ascii(input.counted::<1>()?)?,
        op::UNICODE => to.push(Node::Str(lines::raw_unicode(input.line()?)?))?,
        op::SHORT_BINUNICODE => to.text(input.counted::<1>()?)?,
        op::BINUNICODE => to.text(input.counted::<4>()?)?,
        op::BINUNICODE8 => to.text(input.counted::<8>()?)?,
        op::SHORT_BINBYTES => to.push(Node::Bytes(input.counted::<1>()?))?,
        op::BINBYTES => to.push(Node::Bytes(input.counted::<4>()?))?,
        op::BINBYTES8 => to.push(Node::Bytes(input.counted::<8>()?))?,
        op::BYTEARRAY8 => to.push(Node::ByteArray(input.counted::<8>()?))?,

        op::EMPTY_TUPLE => to.push_known(EMPTY_TUPLE),
        op::TUPLE1 => to.tuple::<1>()?,
        op::TUPLE2 => to.tuple::<2>()?,
        op::TUPLE3 => to.tuple::<3>()?,
        op::TUPLE => {
            let items = to.since_mark()?;
            to.push(Node::Tuple(items.into()))?;
        }
        op::EMPTY_LIST => to.push(Node::List(Vec::new()))?,
        op::LIST => {
            let items = to.since_mark()?;
            to.push(Node::List(items))?;
        }
        op::EMPTY_DICT => to.push(Node::Dict(Vec::new()))?,
        op::DICT => to.dict()?,
        op::EMPTY_SET => to.push(Node::Set(Vec::new()))?,
        op::FROZENSET => {
            let items = to.since_mark()?;
            to.push(Node::FrozenSet(items.into()))?;
        }
        op::SETITEM => to.set_item()?,
        one @ (op::APPEND | op::BUILD) => to.fill_one(one)?,
        many @ (op::APPENDS | op::SETITEMS | op::ADDITEMS) => to.fill_many(many)?,

        op::GLOBAL => to.global(input.line()?, input.line()?)?,
        op::STACK_GLOBAL => to.stack_global()?,
        two @ (op::REDUCE | op::NEWOBJ) => to.object::<2>(two)?,
        op::NEWOBJ_EX => to.object::<3>(op::NEWOBJ_EX)?,
        op::INST => to.instance(Some((input.line()?, input.line()?)))?,
        op::OBJ => to.instance(None)?,

        op::PERSID | op::BINPERSID => {
            return Err(Broken("it names an object by a persistent id, which only its writer knows"));
        }
        op::EXT1 | op::EXT2 | op::EXT4 => {
            return Err(Broken("it names a class by its number in copyreg, which only its writer knows"));
        }
        op::NEXT_BUFFER | op::READONLY_BUFFER => {
            return Err(Broken("it needs buffers that were kept elsewhere"));
        }
        _ => return Err(Broken("it is no pickle, or one of a Python that is not known yet")),
    }
    Ok(None)
}

fn proto(input: &mut Input<'_>) -> Result<u8, Broken> {
    // A later one would change what the names before and after it mean.
    if input.at != 1 {
        return Err(Broken("it begins twice"));
    }
    let protocol = input.byte()?;
    if protocol > NEWEST { Err(Broken("it has a protocol that is not known yet")) } else { Ok(protocol) }
}
