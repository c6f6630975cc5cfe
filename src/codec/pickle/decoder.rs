//! Decodes a pickle's opcodes into an object graph. Nothing is imported or called.

use super::{
    PickleError,
    graph::{EMPTY_TUPLE, FALSE, Graph, NONE, Node, NodeId, TRUE},
    input::Input,
    integer::{self, Int},
    opcode as op, text_args,
    vm::Vm,
};
use crate::{Error, codec::max_values};

/// Python's newest protocol.
const NEWEST_PROTOCOL: u8 = 5;

/// Errors if the pickle is malformed, refers to data outside it, or takes more memory than a session of
/// `max_bytes` may. Trailing bytes are ignored, as in Python.
pub(super) fn decode(bytes: &[u8], max_bytes: usize) -> Result<Graph<'_>, Error> {
    let (mut input, mut vm, mut protocol) = (Input::new(bytes), Vm::new(), 0);
    let max_values = max_values(max_bytes);
    let root = loop {
        match execute(&mut input, &mut vm, &mut protocol) {
            Ok(None) if vm.has_more_than(max_values) => {
                return Err(Error::too_many_values(max_values, max_bytes));
            }
            Ok(None) => {}
            Ok(Some(root)) => break root,
            Err(PickleError(reason)) => {
                let at = input.at;
                return Err(Error::unreadable(format!(
                    "the session's pickle cannot be read at byte {at}: {reason}"
                )));
            }
        }
    };
    Ok(vm.into_graph(root, protocol))
}

/// Executes one opcode. STOP returns the root of the graph.
fn execute<'a>(
    input: &mut Input<'a>,
    vm: &mut Vm<'a>,
    protocol: &mut u8,
) -> Result<Option<NodeId>, PickleError> {
    match input.byte()? {
        op::STOP => return vm.pop().map(Some),
        op::PROTO => *protocol = proto(input)?,
        op::FRAME => input.frame()?,
        op::MARK => vm.mark(),
        op::POP => vm.pop_any()?,
        op::POP_MARK => drop(vm.pop_mark()?),
        op::DUP => vm.dup()?,

        op::PUT => vm.put(text_args::index(input.line()?)?)?,
        op::BINPUT => vm.put(input.number::<1>()?)?,
        op::LONG_BINPUT => vm.put(input.number::<4>()?)?,
        op::MEMOIZE => vm.memoize()?,
        op::GET => vm.get(text_args::index(input.line()?)?)?,
        op::BINGET => vm.get(input.number::<1>()?)?,
        op::LONG_BINGET => vm.get(input.number::<4>()?)?,

        op::NONE => vm.push_id(NONE),
        op::NEWTRUE => vm.push_id(TRUE),
        op::NEWFALSE => vm.push_id(FALSE),
        op::INT => match input.line()? {
            b"00" => vm.push_id(FALSE),
            b"01" => vm.push_id(TRUE),
            line => vm.push(Node::Int(text_args::integer(line)?))?,
        },
        op::LONG => {
            let line = input.line()?;
            vm.push(Node::Int(text_args::integer(line.strip_suffix(b"L").unwrap_or(line))?))?;
        }
        op::BININT => vm.push(Node::Int(Int::Small(i32::from_le_bytes(input.array()?).into())))?,
        op::BININT1 => vm.push(Node::Int(Int::Small(input.byte()?.into())))?,
        op::BININT2 => vm.push(Node::Int(Int::Small(u16::from_le_bytes(input.array()?).into())))?,
        op::LONG1 => vm.push(Node::Int(integer::from_bytes(input.counted::<1>()?)?))?,
        op::LONG4 => vm.push(Node::Int(integer::from_bytes(input.signed_counted()?)?))?,
        op::FLOAT => vm.push(Node::Float(text_args::float(input.line()?)?))?,
        op::BINFLOAT => vm.push(Node::Float(f64::from_be_bytes(input.array()?)))?,

        op::STRING => vm.ascii(text_args::string(input.line()?)?)?,
        op::BINSTRING => vm.ascii(input.signed_counted()?)?,
        op::SHORT_BINSTRING => vm.ascii(input.counted::<1>()?)?,
        op::UNICODE => vm.push(Node::Str(text_args::raw_unicode(input.line()?)?))?,
        op::SHORT_BINUNICODE => vm.text(input.counted::<1>()?)?,
        op::BINUNICODE => vm.text(input.counted::<4>()?)?,
        op::BINUNICODE8 => vm.text(input.counted::<8>()?)?,
        op::SHORT_BINBYTES => vm.push(Node::Bytes(input.counted::<1>()?))?,
        op::BINBYTES => vm.push(Node::Bytes(input.counted::<4>()?))?,
        op::BINBYTES8 => vm.push(Node::Bytes(input.counted::<8>()?))?,
        op::BYTEARRAY8 => vm.push(Node::ByteArray(input.counted::<8>()?))?,

        op::EMPTY_TUPLE => vm.push_id(EMPTY_TUPLE),
        op::TUPLE1 => vm.tuple::<1>()?,
        op::TUPLE2 => vm.tuple::<2>()?,
        op::TUPLE3 => vm.tuple::<3>()?,
        op::TUPLE => vm.container(|items| Node::Tuple(items.into()))?,
        op::EMPTY_LIST => vm.push(Node::List(Vec::new()))?,
        op::LIST => vm.container(Node::List)?,
        op::EMPTY_DICT => vm.push(Node::Dict(Vec::new()))?,
        op::DICT => vm.dict()?,
        op::EMPTY_SET => vm.push(Node::Set(Vec::new()))?,
        op::FROZENSET => vm.container(|items| Node::FrozenSet(items.into()))?,
        op::SETITEM => vm.set_item()?,
        opcode @ (op::APPEND | op::BUILD) => vm.extend_one(opcode)?,
        opcode @ (op::APPENDS | op::SETITEMS | op::ADDITEMS) => vm.extend_many(opcode)?,

        op::GLOBAL => vm.global(input.line()?, input.line()?)?,
        op::STACK_GLOBAL => vm.stack_global()?,
        opcode @ (op::REDUCE | op::NEWOBJ) => vm.object::<2>(opcode)?,
        op::NEWOBJ_EX => vm.object::<3>(op::NEWOBJ_EX)?,
        op::INST => vm.instance(Some((input.line()?, input.line()?)))?,
        op::OBJ => vm.instance(None)?,

        op::PERSID | op::BINPERSID => {
            return Err(PickleError(
                "it refers to an object by a persistent id, which only its writer can resolve",
            ));
        }
        op::EXT1 | op::EXT2 | op::EXT4 => {
            return Err(PickleError(
                "it refers to a class by a copyreg number, which only its writer can resolve",
            ));
        }
        op::NEXT_BUFFER | op::READONLY_BUFFER => {
            return Err(PickleError("it refers to buffers outside the pickle"));
        }
        _ => return Err(PickleError("unknown opcode: it is not a pickle, or its Python is too new")),
    }
    Ok(None)
}

fn proto(input: &mut Input<'_>) -> Result<u8, PickleError> {
    // The protocol decides how class names are read, so it cannot change halfway.
    if input.at != 1 {
        return Err(PickleError("PROTO is not its first opcode"));
    }
    let protocol = input.byte()?;
    if protocol > NEWEST_PROTOCOL { Err(PickleError("its protocol is newer than 5")) } else { Ok(protocol) }
}
