"""Transformers and recurrent networks: attention as exporters write it, norms, embeddings, LSTM and GRU."""

from dataclasses import replace

import numpy as np
import pytest

from onnxq.backends import BACKENDS
from onnxq.testing import Pattern, normal, scaled

WEIGHTS = {
    **{f"w{name}": scaled(64, 64, seed=seed).T.copy() for seed, name in enumerate("qkvo")},
    **{f"b{name}": normal(64, seed=seed, scale=0.1) for seed, name in enumerate("qkvo")},
    "w3": scaled(192, 64).T.copy(),
    "b3": normal(192, scale=0.1),
    "heads": np.array([0, 0, 4, 16]),
    "flat_heads": np.array([-1, 16, 4, 16]),
    "five": np.array([0, 0, 3, 4, 16]),
    "merged": np.array([0, 0, 64]),
    "rows": np.array([-1, 64]),
    "tokens": np.array([-1, 16, 64]),
    "ones": np.array([1, 1, 1]),
    "thirds": np.array([64, 64, 64]),
    "i0": np.array([0]),
    "i1": np.array([1]),
    "first": np.array(0),
    "second": np.array(1),
    "third": np.array(2),
    "four": np.array(4, np.float32),
    "quarter": np.array(0.25, np.float32),
    "causal": np.triu(np.full((16, 16), np.finfo(np.float32).min, np.float32), 1),
    "gamma": 1 + normal(64, scale=0.1),
    "beta": normal(64, scale=0.1, seed=1),
    "epsilon": np.array(1e-5, np.float32),
    "two": np.array(2, np.float32),
    "one": np.array(1, np.float32),
    "half": np.array(0.5, np.float32),
    "root": np.array(2**0.5, np.float32),
    "up": scaled(128, 64).T.copy(),
    "gate": scaled(128, 64, seed=1).T.copy(),
    "ub": normal(128, scale=0.1),
    "down": scaled(64, 128).T.copy(),
    "db": normal(64, scale=0.1),
    "table": normal(100, 64),
    "places": normal(32, 64, seed=1),
    "length": np.array([16]),
}
TOKENS = Pattern("", WEIGHTS, {"x": normal(4, 16, 64, seed=9)}, "float[N,16,64] x", "float[N,S,D] y", least=27)
MASK = np.where(normal(4, 1, 1, 16) > 0.8, np.float32(-1e4), np.float32(0)).astype(np.float32)
IDS = np.random.default_rng(0).integers(0, 100, (4, 16))

QKV = """[q] a = MatMul(x, wq) ab = Add(a, bq) [k] b = MatMul(x, wk) bb = Add(b, bk)
    [v] c = MatMul(x, wv) cb = Add(c, bv) ar = Reshape(ab, heads) at = Transpose<perm=[0,2,1,3]>(ar)
    br = Reshape(bb, heads) bt = Transpose<perm=[0,2,3,1]>(br)
    cr = Reshape(cb, heads) ct = Transpose<perm=[0,2,1,3]>(cr)"""
MERGE = "ot = Transpose<perm=[0,2,1,3]>(o) om = Reshape(ot, merged) [o] y = MatMul(om, wo)"
MIX = f"p = Softmax<axis=-1>(s) [pv] o = MatMul(p, ct) {MERGE}"
PACKED = "[qkv] a = MatMul(x, w3) ab = Add(a, b3) r = Reshape(ab, five) t = Transpose<perm=[2,0,3,1,4]>(r)"
UNPACKED = f"""kt = Transpose<perm=[0,1,3,2]>(k) qs = Mul(q, quarter) [qk] s = MatMul(qs, kt)
    p = Softmax<axis=-1>(s) [pv] o = MatMul(p, v) {MERGE}"""
PRODUCTS = {
    "openvino": {"qk": "", "pv": "subgraph"},  # one kernel for both, which tells no precision
    "tensorrt": {"qk": "attention", "pv": "attention"},
}
ATTENTION = {
    "separate": f"{QKV} [qk] d = MatMul(at, bt) s = Div(d, four) {MIX}",
    "masked": f"{QKV} [qk] d = MatMul(at, bt) e = Div(d, four) s = Add(e, mask) {MIX}",
    "causal": f"{QKV} [qk] d = MatMul(at, bt) e = Mul(d, quarter) s = Add(e, causal) {MIX}",
    "packed_and_split": f"""{PACKED} l, m, n = Split<axis=0>(t, ones) q = Squeeze(l, i0) k = Squeeze(m, i0)
        v = Squeeze(n, i0) {UNPACKED}""",
    "packed_and_gathered": f"""{PACKED} q = Gather<axis=0>(t, first) k = Gather<axis=0>(t, second)
        v = Gather<axis=0>(t, third) {UNPACKED}""",
    "packed_on_the_last_axis": f"""[qkv] z = MatMul(x, w3) a, b, c = Split<axis=-1>(z, thirds) ar = Reshape(a, heads)
        at = Transpose<perm=[0,2,1,3]>(ar) br = Reshape(b, heads) bt = Transpose<perm=[0,2,3,1]>(br)
        cr = Reshape(c, heads) ct = Transpose<perm=[0,2,1,3]>(cr) [qk] d = MatMul(at, bt) s = Mul(d, quarter) {MIX}""",
    "flattened": f"""f = Reshape(x, rows) [q] a = Gemm(f, wq, bq) [k] b = Gemm(f, wk, bk) [v] c = Gemm(f, wv, bv)
        ar = Reshape(a, flat_heads) at = Transpose<perm=[0,2,1,3]>(ar) br = Reshape(b, flat_heads)
        bt = Transpose<perm=[0,2,3,1]>(br) cr = Reshape(c, flat_heads) ct = Transpose<perm=[0,2,1,3]>(cr)
        [qk] d = MatMul(at, bt) s = Mul(d, quarter) {MIX}""",
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name: str, backend: str) -> None:
    pattern = replace(TOKENS, body=ATTENTION[name], floats=PRODUCTS)
    if name == "masked":
        pattern = replace(
            pattern, inputs=f"{TOKENS.inputs}, float[N,1,1,16] mask", feeds={**TOKENS.feeds, "mask": MASK}
        )
    pattern.holds_on(backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_einsum_is_left_in_float_and_said_so(backend: str) -> None:
    pattern = replace(
        TOKENS,
        body="""[q] a = MatMul(x, wq) [k] b = MatMul(x, wk) ar = Reshape(a, heads) br = Reshape(b, heads)
        [scores] s = Einsum<equation="bihd,bjhd->bhij">(ar, br) p = Softmax<axis=-1>(s)
        [mix] o = Einsum<equation="bhij,bjhd->bihd">(p, ar) om = Reshape(o, merged) [o] y = MatMul(om, wo)""",
        floats={"openvino": {"q": "f32"}},  # the name of the Einsum's kernel says so
    )
    reasons = pattern.holds_on(backend).result.plan.floats
    assert "Einsum" in reasons["scores"] and "Einsum" in reasons["mix"]


FEED_FORWARD = (
    "[f1] a = MatMul(n, up) ab = Add(a, ub) r = Relu(ab) [f2] c = MatMul(r, down) cb = Add(c, db) y = Add(cb, x)"
)
BLOCKS = {
    "layer_norm": f"n = LayerNormalization(x, gamma, beta) {FEED_FORWARD}",
    "layer_norm_in_pieces": f"""m = ReduceMean<axes=[-1]>(x) d = Sub(x, m) e = Pow(d, two) v = ReduceMean<axes=[-1]>(e)
        f = Add(v, epsilon) s = Sqrt(f) q = Div(d, s) g1 = Mul(q, gamma) n = Add(g1, beta) {FEED_FORWARD}""",
    "gelu_of_erf": """n = LayerNormalization(x, gamma, beta) [f1] a = MatMul(n, up) ab = Add(a, ub) d = Div(ab, root)
        e = Erf(d) f = Add(e, one) h = Mul(ab, f) r = Mul(h, half) [f2] c = MatMul(r, down) y = Add(c, x)""",
    "rms_norm_and_gated_silu": """e = Pow(x, two) v = ReduceMean<axes=[-1]>(e) f = Add(v, epsilon) s = Sqrt(f)
        i = Reciprocal(s) q = Mul(x, i) n = Mul(q, gamma) [g1] a = MatMul(n, gate) b = Sigmoid(a) c = Mul(a, b)
        [f1] d = MatMul(n, up) h = Mul(c, d) [f2] k = MatMul(h, down) y = Add(k, x)""",
}
FUSED = {"rms_norm_and_gated_silu": {"openvino": {"f2": "subgraph"}, "portable": {}}}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", BLOCKS)
def test_norms_and_feed_forward_layers(name: str, backend: str) -> None:
    replace(TOKENS, body=BLOCKS[name], floats=FUSED.get(name, {})).holds_on(backend)


READ_OUT = {
    "mean": "c = ReduceMean<axes=[1], keepdims=0>(a)",
    "mean_of_activations": "b = Relu(a) c = ReduceMean<axes=[1], keepdims=0>(b)",
    "sum": "c = ReduceSum<keepdims=0>(a, i1)",
    "maximum": "c = ReduceMax<axes=[1], keepdims=0>(a)",
    "class_token": "c = Gather<axis=1>(a, first)",
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", READ_OUT)
def test_one_vector_of_all_tokens(name: str, backend: str) -> None:
    body = f"[f1] a = MatMul(x, up) {READ_OUT[name]} [f2] y = Gemm(c, down, db)"
    replace(TOKENS, body=body, outputs="float[N,D] y").holds_on(backend)


EMBEDDINGS = {
    "words_and_places": """[pick] e = Gather(table, i) q = Slice(places, i0, length, i0) s = Add(e, q)
        n = LayerNormalization(s, gamma, beta) [f1] a = MatMul(n, up) r = Relu(a) [f2] y = MatMul(r, down)""",
    "tied_to_the_output": """[pick] e = Gather(table, i) [f1] a = MatMul(e, up) r = Relu(a) [f2] c = MatMul(r, down)
        t = Transpose<perm=[1,0]>(table) [words] y = MatMul(c, t)""",
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_are_stored_as_integers(name: str, backend: str) -> None:
    pattern = replace(TOKENS, body=EMBEDDINGS[name], inputs="int64[N,16] i", feeds={"i": IDS})
    found = pattern.holds_on(backend)
    assert "stored as integers" in found.result.plan.floats["pick"]
    assert found.result.size_after < 0.45 * found.result.size_before


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent_layers(directions: int, op: str, gates: int, backend: str) -> None:
    direction = "forward" if directions == 1 else "bidirectional"
    weights = {
        "w": normal(directions, gates * 64, 64, scale=0.12),
        "r": normal(directions, gates * 64, 64, scale=0.12, seed=1),
        "b": normal(directions, 2 * gates * 64, scale=0.1, seed=2),
        "v": scaled(64, 64 * directions).T.copy(),
        "joined": np.array([0, 0, 64 * directions]),
    }
    pattern = replace(
        TOKENS,
        weights=weights,
        body=f"""s = Transpose<perm=[1,0,2]>(x)
        [rnn] h, last = {op}<hidden_size=64, direction="{direction}">(s, w, r, b)
        t = Transpose<perm=[2,0,1,3]>(h) u = Reshape(t, joined) [fc] y = MatMul(u, v)""",
    )
    found = pattern.holds_on(backend).result
    stored = backend != "tensorrt"
    assert ("stored as integers" in found.plan.floats["rnn"]) == stored
    assert (found.size_after < 0.35 * found.size_before) == stored
