"""Markup is made so that text stays text."""

from onnxq.html.markup import Html, escaped, joined, name_of, tag


def test_text_is_escaped_once() -> None:
    assert escaped("<b a='\"'>&") == "&lt;b a=&#x27;&quot;&#x27;&gt;&amp;"
    assert escaped(escaped("<")) == "&lt;"


def test_what_cannot_be_seen_is_shown() -> None:
    assert escaped("a\u202eb\x00c\n") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c\n"


def test_content_and_attributes_are_escaped() -> None:
    assert tag("a", "<i>", tag("b", "x"), title='"><i>', class_="k") == (
        '<a title="&quot;&gt;&lt;i&gt;" class="k">&lt;i&gt;<b>x</b></a>'
    )


def test_attributes() -> None:
    assert tag("rect", width=1 / 3, x=None, hidden=False) == '<rect width="0.3333"/>'
    assert tag("details", open=True, aria_label="l", viewbox="0 0 1 1") == (
        '<details open aria-label="l" viewBox="0 0 1 1"></details>'
    )


def test_parts_are_joined() -> None:
    assert joined(["<", Html("<b>")], "&") == "&lt;&amp;<b>"


def test_a_name_may_break_after_its_parts() -> None:
    assert name_of("/a/<b>_c") == '<span class="name">/<wbr>a/&lt;b&gt;_<wbr>c</span>'
