"""What an attacker, or a broken exporter or disk, may do to a model: each takes a model and changes it in place."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import onnx

T = TypeVar("T")
NUMBERS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 255, 1 << 16, 1 << 20, 1 << 31, 1 << 33, 1 << 40, 2**63 - 1)
PATHS = (
    *("../weights.bin", "../../../../etc/passwd", "/etc/passwd", "/dev/zero", "/proc/self/mem", "weights.bin", ""),
    *("link", "link/passwd", ".", "model.onnx", "a\0b", "x" * 5000, "//host/share", "C:\\\\weights.bin", "fifo"),
)
Mutation = Callable[[onnx.ModelProto, random.Random], None]


def graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]


def _nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for graph in graphs(model) for node in graph.node]


def _one(random_: random.Random, entries: Sequence[T]) -> list[T]:
    """One of them, if there is one."""
    return [random_.choice(entries)] if entries else []


def _tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    held = [tensor for graph in graphs(model) for tensor in graph.initializer]
    return held + [attribute.t for node in _nodes(model) for attribute in node.attribute if attribute.HasField("t")]


def other_dtype(model: onnx.ModelProto, random_: random.Random) -> None:
    for tensor in _one(random_, _tensors(model)):
        tensor.data_type = random_.randint(-1, 30)


def other_dims(model: onnx.ModelProto, random_: random.Random) -> None:
    for tensor in _one(random_, _tensors(model)):
        at = random_.randint(0, len(tensor.dims))
        tensor.dims[at : at + random_.randint(0, 1)] = [random_.choice(NUMBERS)]


def other_numbers(model: onnx.ModelProto, random_: random.Random) -> None:
    """Of a small tensor of integers: shapes, axes, counts."""
    found = [t for t in _tensors(model) if t.data_type == onnx.TensorProto.INT64 and 0 < len(t.raw_data) <= 64]
    for tensor in _one(random_, found):
        values = [
            int.from_bytes(tensor.raw_data[i : i + 8], "little", signed=True) for i in range(0, len(tensor.raw_data), 8)
        ]
        values[random_.randrange(len(values))] = random_.choice(NUMBERS)
        tensor.raw_data = b"".join(value.to_bytes(8, "little", signed=True) for value in values)


def other_bytes(model: onnx.ModelProto, random_: random.Random) -> None:
    """Weights of NaN, infinity and what they may be."""
    for tensor in _one(random_, [tensor for tensor in _tensors(model) if tensor.raw_data]):
        content = bytearray(tensor.raw_data)
        for _ in range(random_.randint(1, 8)):
            content[random_.randrange(len(content))] = random_.choice((0, 127, 128, 255))
        tensor.raw_data = bytes(content)


def less_data(model: onnx.ModelProto, random_: random.Random) -> None:
    for tensor in _one(random_, _tensors(model)):
        tensor.raw_data = tensor.raw_data[: random_.randint(0, max(len(tensor.raw_data) - 1, 0))]


def two_kinds_of_data(model: onnx.ModelProto, random_: random.Random) -> None:
    for tensor in _one(random_, _tensors(model)):
        tensor.float_data.extend([1.0] * random_.randint(1, 5))


def external(model: onnx.ModelProto, random_: random.Random) -> None:
    for tensor in _one(random_, _tensors(model)):
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=random_.choice(PATHS))
        for key in ("offset", "length"):
            if random_.random() < 0.5:
                tensor.external_data.add(key=key, value=random_.choice((*map(str, NUMBERS), "x", "", "1e9")))


def no_initializer(model: onnx.ModelProto, random_: random.Random) -> None:
    if model.graph.initializer:
        del model.graph.initializer[random_.randrange(len(model.graph.initializer))]


def twice(model: onnx.ModelProto, random_: random.Random) -> None:
    graph = model.graph
    fields: list[Any] = [graph.node, graph.initializer, graph.input, graph.output, model.opset_import]
    for field in _one(random_, fields):
        for entry in _one(random_, list(field)):
            field.add().CopyFrom(entry)


def sparse(model: onnx.ModelProto, random_: random.Random) -> None:
    for tensor in _one(random_, list(model.graph.initializer)):
        found = model.graph.sparse_initializer.add(dims=random_.sample(NUMBERS, 2))
        found.values.CopyFrom(tensor)
        found.indices.CopyFrom(random_.choice(model.graph.initializer))


def swapped_names(model: onnx.ModelProto, random_: random.Random) -> None:
    """Cycles, names made twice, names that nothing makes."""
    names = sorted(
        {name for node in _nodes(model) for name in (*node.input, *node.output)} | {"", "nothing", "a\0", "é"}
    )
    for node in _one(random_, _nodes(model)):
        field = random_.choice([node.input, node.output])
        if field:
            field[random_.randrange(len(field))] = random_.choice(names)


def other_inputs(model: onnx.ModelProto, random_: random.Random) -> None:
    for node in _one(random_, _nodes(model)):
        field = random_.choice([node.input, node.output])
        if random_.random() < 0.5 and field:
            del field[random_.randrange(len(field))]
        else:
            field.append(random_.choice(["", "extra", *field]))


def other_operator(model: onnx.ModelProto, random_: random.Random) -> None:
    schemas = sorted({schema.name for schema in onnx.defs.get_all_schemas()})
    for node in _one(random_, _nodes(model)):
        node.op_type = random_.choice((*schemas, "", "Nothing", "a b"))


def other_domain(model: onnx.ModelProto, random_: random.Random) -> None:
    domain = random_.choice(("ai.onnx", "com.microsoft", "ai.onnx.ml", "nobody", "\0"))
    for node in _one(random_, _nodes(model)):
        node.domain = domain
    if random_.random() < 0.7:
        model.opset_import.add(domain=domain, version=random_.choice((1, 17, 999)))


def other_attribute(model: onnx.ModelProto, random_: random.Random) -> None:
    for attribute in _one(random_, [attribute for node in _nodes(model) for attribute in node.attribute]):
        kind = random_.random()
        if kind < 0.4 and attribute.ints:
            attribute.ints[random_.randrange(len(attribute.ints))] = random_.choice(NUMBERS)
        elif kind < 0.5:
            attribute.ints.append(random_.choice(NUMBERS))
        elif kind < 0.7:
            attribute.i = random_.choice(NUMBERS)
        elif kind < 0.8:
            attribute.type = cast(Any, random_.randint(0, 14))
        elif kind < 0.9:
            attribute.s = bytes(random_.choices(range(256), k=4))
        else:
            attribute.name = random_.choice(("axis", "perm", "nothing", "", "to", "value"))


def new_attribute(model: onnx.ModelProto, random_: random.Random) -> None:
    names = (
        "axis",
        "axes",
        "perm",
        "to",
        "group",
        "strides",
        "pads",
        "dilations",
        "kernel_shape",
        "allowzero",
        "start",
    )
    for node in _one(random_, _nodes(model)):
        value = random_.choice((random_.choice(NUMBERS), random_.choices(NUMBERS, k=2), float("nan"), "text"))
        node.attribute.append(onnx.helper.make_attribute(random_.choice(names), value))


def other_interface(model: onnx.ModelProto, random_: random.Random) -> None:
    for value in _one(random_, [*model.graph.input, *model.graph.output, *model.graph.value_info]):
        kind = value.type.tensor_type
        choice = random_.random()
        if choice < 0.25:
            kind.elem_type = random_.randint(0, 30)
        elif choice < 0.5 and kind.shape.dim:
            random_.choice(kind.shape.dim).dim_value = random_.choice(NUMBERS)
        elif choice < 0.6:
            kind.shape.dim.add(dim_value=random_.choice(NUMBERS))
        elif choice < 0.7:
            kind.ClearField("shape")
        elif choice < 0.8:
            value.ClearField("type")
        elif choice < 0.9:
            value.name = random_.choice(("", "x", "nothing"))
        else:
            value.type.sequence_type.elem_type.tensor_type.elem_type = 1


def other_version(model: onnx.ModelProto, random_: random.Random) -> None:
    if random_.random() < 0.3:
        model.ir_version = random_.choice((0, 1, 3, 8, 99, 2**62))
    for entry in _one(random_, list(model.opset_import)):
        entry.version = random_.choice((-1, 0, 1, 5, 7, 9, 11, 13, 18, 22, 26, 99, 2**62))


def deep_bodies(model: onnx.ModelProto, random_: random.Random) -> None:
    """A node inside many bodies."""
    for node in _one(random_, list(model.graph.node)):
        for _ in range(random_.choice((3, 20, 40, 90))):
            inner = onnx.NodeProto()
            inner.CopyFrom(node)
            node.Clear()
            node.op_type = "If"
            node.input.append(random_.choice(["flag", *inner.input]))
            node.output.extend(inner.output)
            for name in ("then_branch", "else_branch"):
                attribute = node.attribute.add(name=name, type=onnx.AttributeProto.GRAPH)
                attribute.g.name = name
                attribute.g.node.add().CopyFrom(inner)
                attribute.g.output.extend(onnx.ValueInfoProto(name=found) for found in inner.output)
                if len(inner.SerializeToString()) > 200_000:
                    return


def many_nodes(model: onnx.ModelProto, random_: random.Random) -> None:
    """A long chain behind an output."""
    for value in _one(random_, list(model.graph.output)):
        last = value.name
        for count in range(random_.choice((50, 500, 3000))):
            model.graph.node.add(op_type=random_.choice(("Identity", "Neg")), input=[last], output=[f"{last}~{count}"])
            last = f"{last}~{count}" if random_.random() < 0.99 else last
        value.name = last


def expansion(model: onnx.ModelProto, random_: random.Random) -> None:
    """A constant that would take all memory, or all time."""
    size = [random_.choice(NUMBERS) for _ in range(random_.randint(1, 3))]
    model.graph.initializer.append(onnx.helper.make_tensor("fuzz/size", onnx.TensorProto.INT64, [len(size)], size))
    operator = random_.choice(("ConstantOfShape", "Range", "RandomNormalLike"))
    read = ["fuzz/size"] * (3 if operator == "Range" else 1)
    model.graph.node.insert(0, onnx.helper.make_node(operator, read, ["fuzz/huge"]))
    for node in _one(random_, list(model.graph.node)[1:]):
        name = random_.choice(list(node.input) or [""])
        node.input.append("fuzz/huge") if not name else node.input.__setitem__(
            list(node.input).index(name), "fuzz/huge"
        )


def function(model: onnx.ModelProto, random_: random.Random) -> None:
    """One that calls another, or itself."""
    for node in _one(random_, list(model.graph.node)):
        name = random_.choice(("F", "G"))
        for made in ("F", "G"):
            found = model.functions.add(name=made, domain="fuzz", input=["a"], output=["b"])
            found.opset_import.extend([onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("fuzz", 1)])
            found.node.append(onnx.helper.make_node(random_.choice(("F", "G", "Relu")), ["a"], ["b"]))
            found.node[0].domain = "" if found.node[0].op_type == "Relu" else "fuzz"
        node.op_type, node.domain = name, "fuzz"
    model.opset_import.add(domain="fuzz", version=1)


MUTATIONS: tuple[Mutation, ...] = (
    *(other_dtype, other_dims, other_numbers, other_bytes, less_data, two_kinds_of_data, external, no_initializer),
    *(twice, sparse, swapped_names, other_inputs, other_operator, other_domain, other_attribute, new_attribute),
    *(other_interface, other_version, deep_bodies, many_nodes, expansion, function),
)


def flipped(content: bytes, random_: random.Random) -> bytes:
    """Bytes changed, cut off, doubled or put in."""
    found = bytearray(content)
    for _ in range(random_.choice((1, 1, 2, 5, 20))):
        at = random_.randrange(len(found) + 1)
        kind = random_.random()
        if kind < 0.7 and at < len(found):
            found[at] = random_.randrange(256)
        elif kind < 0.8:
            del found[at : at + random_.randint(1, 50)]
        elif kind < 0.9:
            found[at:at] = found[at : at + random_.randint(1, 50)]
        else:
            found[at:at] = bytes(random_.choices(range(256), k=random_.randint(1, 8)))
    return bytes(found)
