r"""Math that MathJax may typeset: an allow-list of TeX commands.

TeX is markup of its own. In MathJax some commands link (`\href`), load (`\mmlToken{mglyph}`, `\require`), set
attributes (`\style`, `\class`), or define macros for the whole page (`\def`). Only formulas of the commands below are
passed on. None of these takes an address or a name, and lengths are bounded.
"""

from __future__ import annotations

import re

#: The longest formula, in bytes of UTF-8, and the deepest nesting of its groups. MathJax typesets in the page's only
#: thread; it measures characters of other scripts one by one.
LONGEST, DEEPEST = 4_000, 10
#: The most changes of color or style in a formula. MathJax nests them: a page with 300 of them crashes.
_CHANGES = 30
#: The most negative spaces in a formula. Each moves what follows by a sixth of an em to the left.
_NEGATIVE = 6

_LETTERS = """
alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa varkappa lambda mu nu xi omicron pi varpi
rho varrho sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi
Omega digamma aleph beth gimel daleth ell hbar hslash imath jmath Re Im wp partial nabla infty emptyset varnothing
forall exists nexists angle measuredangle sphericalangle triangle triangledown square Box Diamond lozenge bigstar star
clubsuit diamondsuit heartsuit spadesuit flat natural sharp surd top bot dagger ddagger checkmark complement mho eth
degree prime backprime blacksquare blacktriangle blacktriangledown S P
"""
_OPERATORS = """
sum prod coprod int iint iiint iiiint oint bigcap bigcup bigsqcup bigvee bigwedge bigodot bigoplus bigotimes biguplus
arccos arcsin arctan arg cos cosh cot coth csc deg det dim exp gcd hom inf injlim ker lg lim liminf limsup ln log max
min Pr projlim sec sin sinh sup tan tanh varinjlim varprojlim varliminf varlimsup mod bmod pmod pod pm mp times div cdot
ast circ bullet cap cup uplus sqcap sqcup vee wedge lor land lnot neg setminus smallsetminus wr diamond bigtriangleup
bigtriangledown triangleleft triangleright lhd rhd unlhd unrhd oplus ominus otimes oslash odot bigcirc amalg dotplus
ltimes rtimes leftthreetimes rightthreetimes Cap Cup barwedge veebar doublebarwedge boxplus boxminus boxtimes boxdot
circleddash circledast circledcirc centerdot intercal divideontimes
"""
_RELATIONS = """
le leq ge geq leqslant geqslant lt gt ll gg lll ggg ne neq equiv sim nsim simeq approx approxeq cong ncong asymp doteq
propto varpropto models prec succ preceq succeq precsim succsim subset supset subseteq supseteq nsubseteq nsupseteq
subsetneq supsetneq Subset Supset sqsubset sqsupset sqsubseteq sqsupseteq in ni notin owns vdash dashv vDash Vdash
Vvdash nvdash nvDash perp mid nmid parallel nparallel smile frown bowtie Join between pitchfork therefore because
lesssim gtrsim lessgtr gtrless lessapprox gtrapprox nless ngtr nleq ngeq lneq gneq lneqq gneqq triangleq coloneqq
eqqcolon colon bumpeq Bumpeq circeq eqcirc fallingdotseq risingdotseq trianglelefteq trianglerighteq vartriangleleft
vartriangleright backsim backsimeq thicksim thickapprox not
"""
_ARROWS = """
to gets mapsto longmapsto leftarrow rightarrow leftrightarrow Leftarrow Rightarrow Leftrightarrow longleftarrow
longrightarrow longleftrightarrow Longleftarrow Longrightarrow Longleftrightarrow implies impliedby iff uparrow
downarrow updownarrow Uparrow Downarrow Updownarrow nearrow searrow swarrow nwarrow hookleftarrow hookrightarrow
leftharpoonup leftharpoondown rightharpoonup rightharpoondown rightleftharpoons leftrightharpoons rightleftarrows
leftrightarrows rightrightarrows leftleftarrows upuparrows downdownarrows twoheadrightarrow twoheadleftarrow
rightarrowtail leftarrowtail curvearrowleft curvearrowright circlearrowleft circlearrowright rightsquigarrow leadsto
nleftarrow nrightarrow nRightarrow nLeftarrow nLeftrightarrow multimap xleftarrow xrightarrow
"""
_LAYOUT = """
frac dfrac tfrac cfrac binom dbinom tbinom over choose sqrt root overline underline overbrace underbrace overset
underset stackrel substack overleftarrow overrightarrow overleftrightarrow underleftarrow underrightarrow hat widehat
check widecheck tilde widetilde acute grave dot ddot dddot breve bar vec mathring limits nolimits operatorname mathop
mathbin mathrel mathord mathopen mathclose mathpunct mathinner boxed cancel bcancel xcancel phantom hphantom vphantom
middle big Big bigg Bigg bigl Bigl biggl Biggl bigr Bigr biggr Biggr bigm Bigm biggm Biggm ldots cdots vdots ddots dots
dotsb dotsc dotsi dotsm dotso hline hdashline nonumber notag quad qquad enspace space thinspace medspace thickspace
lbrace rbrace lbrack rbrack lvert rvert lVert rVert vert Vert langle rangle lceil rceil lfloor rfloor lgroup rgroup
lmoustache rmoustache ulcorner urcorner llcorner lrcorner backslash And bra ket braket Bra Ket mathbb mathbf mathcal
mathfrak mathit mathnormal mathrm mathscr mathsf mathtt boldsymbol bf it rm cal
"""
#: Commands whose group is text. Math may stand in it, between dollar signs.
_TEXT = frozenset(("text", "textbf", "textit", "textnormal", "textrm", "textsf", "texttt", "mbox"))
COMMANDS = frozenset(f"{_LETTERS} {_OPERATORS} {_RELATIONS} {_ARROWS} {_LAYOUT}".split()) | _TEXT

#: Environments that are formulas by themselves, and those that stand in one. A star makes no difference.
OUTER = ("equation", "multline", "gather", "align", "alignat", "flalign", "eqnarray")
MATRICES = ("matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix")
_INNER = ("smallmatrix", "cases", "dcases", "rcases", "aligned", "gathered", "split")
_COLORS = "red|blue|green|orange|purple|violet|magenta|cyan|teal|olive|brown|gray"

_LENGTH = r"[0-9]?(?:\.[0-9]{1,3})?\s*em|[0-9]?(?:\.[0-9]{1,3})?\s*ex|[0-9]{1,2}(?:\.[0-9]{1,3})?\s*(?:mu|pt|px|mm)"
_PARTS = re.compile(
    rf"""
      (?P<text>[^\\{{}}$%\#^]+)
    | (?P<script>\^(?!\^))
    | (?P<open>\{{)
    | (?P<close>\}})
    | (?P<dollar>\$)
    | \\begin\{{(?P<begin>(?:{"|".join((*OUTER, *MATRICES, *_INNER))})\*?|subarray|array|alignedat)\}}
    | \\end\{{(?P<end>[a-zA-Z]+\*?)\}}
    | (?P<left>\\left(?![a-zA-Z]))
    | (?P<right>\\right(?![a-zA-Z]))
    | (?P<row>\\\\\s*+\*?+\s*+(?:\[\s*(?:{_LENGTH})\s*\]|(?!\[)))
    | (?P<space>\\hspace\*?\s*\{{\s*(?:{_LENGTH})\s*\}})
    | (?P<change>\\(?:text)?color\s*\{{\s*(?:{_COLORS})\s*\}}|\\(?:display|text|script|scriptscript)style(?![a-zA-Z]))
    | (?P<negative>\\!)
    | (?P<symbol>\\[,;:> {{}}|$%\#&_])
    | \\(?P<command>[a-zA-Z]+)
    """,
    re.VERBOSE,
)
#: What must follow the beginning of an environment: its columns.
_COLUMNS = {
    "array": re.compile(r"\s*(?:\[[tcb]\])?\s*\{[lcr|: ]{1,40}\}"),
    "subarray": re.compile(r"\s*\{[lcr]\}"),
    "alignat": re.compile(r"\s*\{[0-9]{1,2}\}"),
}
_COLUMNS |= {"alignat*": _COLUMNS["alignat"], "alignedat": _COLUMNS["alignat"]}
#: What may have opened the group that a part closes. An environment and a dollar sign close what they are themselves.
_OPENED_BY = {"close": ("{", "text"), "right": ("\\left",), "end": (), "dollar": ()}
_GROUP_OF_TEXT = re.compile(r"\s*\{")
_NUMBER = re.compile(r"\\tag\*?\s*\{([A-Za-z0-9.,'*-]{1,12})\}")
_LABEL = re.compile(r"\\label\s*\{[A-Za-z0-9 .,:_-]{1,80}\}")


def formula(tex: str) -> str | None:
    r"""Return the formula if MathJax may typeset it, else None.

    Equation numbers become text and labels go: `\tag` and `\label` would name elements of the page.
    """
    if len(tex.encode()) > LONGEST:
        return None
    tex = _LABEL.sub("", _NUMBER.sub(r"\\qquad\\text{(\1)}", tex))
    return tex if _is_allowed(tex) else None


def _is_allowed(tex: str) -> bool:
    at, limits = 0, {"change": _CHANGES, "negative": _NEGATIVE}
    groups: list[str] = []  # of `{`, `text`, `$`, `left` and environments, the innermost last
    while at < len(tex):
        part = _PARTS.match(tex, at)
        if part is None:
            return False
        kind, value, at = str(part.lastgroup), part[part.lastgroup or 0], part.end()
        if kind in limits:
            limits[kind] -= 1
        elif kind == "command" and value in _TEXT and (group := _GROUP_OF_TEXT.match(tex, at)):
            groups.append("text")
            at = group.end()
        elif kind == "begin" and value in _COLUMNS:
            columns = _COLUMNS[value].match(tex, at)
            at = columns.end() if columns else len(tex)
            groups.append(value if columns else "no columns")
        elif kind in ("begin", "open", "left") or (kind == "dollar" and groups[-1:] == ["text"]):
            groups.append(value)
        elif kind in _OPENED_BY:
            if not groups or groups.pop() not in (*_OPENED_BY[kind], value):
                return False
        elif kind == "command" and value not in COMMANDS:
            return False
        if len(groups) > DEEPEST or min(limits.values()) < 0:
            return False
    return not groups
