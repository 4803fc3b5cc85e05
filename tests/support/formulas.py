r"""Formulas as models write them, and formulas that would do something else than stand there.

In hostile ones `URL` stands for an address, `NAME` for a macro of the page, and `N` for the formula's number.
"""

from __future__ import annotations

#: All of these are typeset.
ORDINARY = (
    r"x", r"x^2", r"x_{i+1}", r"a^2 + b^2 = c^2", r"E = mc^2", r"\frac{a}{b}", r"\dfrac{\partial f}{\partial x}",
    r"\frac{d^2y}{dx^2} + p\,\frac{dy}{dx} = 0", r"\sqrt{2}", r"\sqrt[3]{x^2 + 1}", r"e^{i\pi} + 1 = 0",
    r"\sum_{i=1}^{n} i = \frac{n(n+1)}{2}", r"\sum\limits_{k=0}^\infty \frac{x^k}{k!}", r"\prod_{p \text{ prime}} p",
    r"\int_0^1 x^2 \, dx", r"\iint_D f(x, y)\,dx\,dy", r"\int\!\!\!\int f", r"\oint_C \vec{F} \cdot d\vec{r}",
    r"\lim_{x \to 0} \frac{\sin x}{x} = 1", r"\max_{\theta \in \Theta} \log p(x \mid \theta)",
    r"\left( \frac{1}{2} \right)", r"\left\{ x \in \mathbb{R} \;\middle|\; x > 0 \right\}", r"\left[ 0, 1 \right)",
    r"\Bigl( \bigl( x \bigr) \Bigr)", r"\lfloor x \rfloor + \lceil y \rceil", r"\langle u, v \rangle",
    r"\lVert x \rVert_2", r"|x|", r"\mathbb{R}^n \to \mathbb{C}", r"\mathcal{L}(\theta)", r"\mathfrak{g}",
    r"\mathbf{A}\mathbf{x} = \mathbf{b}", r"\mathrm{Var}(X)", r"\operatorname{tr}(A)",
    r"\operatorname*{arg\,max}_x f(x)", r"\boldsymbol{\mu}", r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}",
    r"\begin{bmatrix} 1 & 0 \\[4pt] 0 & 1 \end{bmatrix}", r"\begin{vmatrix} a & b \\ c & d \end{vmatrix} = ad - bc",
    r"\begin{matrix} 1 & 2 \\ 3 & 4 \end{matrix}",
    r"f(x) = \begin{cases} x & \text{if } x > 0 \\ 0 & \text{otherwise} \end{cases}",
    r"\begin{cases} 1 & \text{if $x \in A$} \\ 0 & \text{if $x \notin A$} \end{cases}",
    r"\begin{aligned} a &= b + c \\ &= d \end{aligned}", r"\begin{gathered} a \\ b \end{gathered}",
    r"\begin{split} a &= b \\ &= c \end{split}", r"\begin{array}{c|cc} x & 1 & 2 \\ \hline y & 3 & 4 \end{array}",
    r"\left.\frac{df}{dx}\right|_{x=0}", r"\overline{AB} \parallel \overrightarrow{CD}", r"\widehat{xyz} \ne \tilde{x}",
    r"\hat{y} = \bar{x} + \dot{z} + \ddot{w}", r"\underbrace{a + b}_{2} + \overbrace{c + d}^{2}", r"\binom{n}{k}",
    r"{n \choose k}", r"a \equiv b \pmod{n}", r"p \implies q \iff \lnot p \lor q",
    r"\forall \varepsilon > 0\ \exists \delta > 0", r"A \cup B \cap C \subseteq D \setminus E",
    r"\alpha\beta\gamma\delta\epsilon\zeta\eta\theta", r"\Gamma\Delta\Omega\Phi\Psi",
    r"\hbar\omega, \ell, \Re(z), \Im(z), \nabla \cdot \mathbf{E} = \frac{\rho}{\varepsilon_0}", r"90^\circ, 45'",
    r"x \xrightarrow{f} y", r"\boxed{x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}}", r"\frac{\cancel{x} y}{\cancel{x}}",
    r"1 + \cfrac{1}{2 + \cfrac{1}{3 + \ddots}}", r"a_1, a_2, \ldots, a_n", r"a_1 + \cdots + a_n",
    r"\sum_{\substack{i < n \\ j < m}} x", r"\overset{!}{=} \underset{x}{y} \stackrel{\text{def}}{=}",
    r"P(A \mid B) = \frac{P(B \mid A)\,P(A)}{P(B)}", r"\text{speed} = \frac{\text{distance}}{\text{time}}",
    r"5\% \text{ of } \$20 \text{ \& more}", r"\#\{1, 2\} = 2", r"x \in [0, 1] \quad \text{and} \qquad y \le 1",
    r"\lvert\psi\rangle = \ket{0} + \ket{1}", r"\bra{\phi}\ket{\psi}", r"\color{red}{x} + \textcolor{blue}{y}",
    r"x = y \tag{1}", r"x = y \label{eq:one}", r"a \hspace{1em} b", r"x' + y''", r"{\bf x} \cdot {\rm d}x",
    r"\displaystyle \sum_i x_i", r"\mathbb{E}[X] \approx \bar{X} \pm 1.96\,\sigma/\sqrt{n}",
    r"\sin^2\theta + \cos^2\theta = 1", r"\log_2 n \le \sqrt{n}", r"O(n \log n)", r"\phantom{-}1", r"x \not= y",
    r"é + 数 = x",
)  # fmt: skip

#: None of these is typeset.
HOSTILE = (
    # Loads an address.
    r"\mmlToken{mglyph}[src=URL]{x}", r"\mmlToken{mglyph}[src=URL width=9px height=9px alt=x]{}",
    r"\mmlToken{mi}[style=background:url(URL)]{x}", r"\includegraphics{URL}", r"\includegraphics[width=9px]{URL}",
    r"\require{URL}", r"\require{html}", r"\require{[custom]/URL}", r"\style{background:url(URL)}{x}",
    r"\bbox[background:url(URL)]{x}", r"\bbox[5px, border: 2px solid red]{x}", r"\colorbox{url(URL)}{x}",
    r"\color{url(URL)}{x}", r"\color[HTML]{ff0000}{x}", r"\fcolorbox{red}{url(URL)}{x}",
    r"\definecolor{red}{rgb}{1,1,1}", r"\enclose{circle}[mathbackground=url(URL)]{x}", r"\img{URL}",
    r"\image{URL}{9px}", r"\input{URL}", r"\include{URL}", r"\usepackage{URL}", r"\special{html:<img src=URL>}",
    r"\html{<img src=URL>}", r"\ce{\includegraphics{URL}}",
    # Links.
    r"\href{URL}{x}", r"\href {URL} {x}", "\\href%\n{URL}{x}", r"\href{javascript:alert(1)}{x}", r"\url{URL}",
    r"\text{\href{URL}{x}}", r"\text{$\href{URL}{x}$}", r"\mbox{\(\href{URL}{x}\)}", r"\hbox{\href{URL}{x}}",
    r"{\href}{URL}{x}", r"\frac\href{URL}{x}y", r"x^\href{URL}{y}", r"\left\href{URL}{x}\right)", r"\\\href{URL}{x}",
    r"\begin{matrix}\href{URL}{x}\end{matrix}", r"\operatorname{\href{URL}{x}}", r"\mmlToken{mi}[href=URL]{x}",
    # Names elements of the page, and refers to them.
    r"\class{jp-Cell}{x}", r"\cssId{jp-main}{x}", r"\label{x}\ref{x}", r"\eqref{x}", r"\ref{URL}",
    r"\tag{\href{URL}{x}}", r"\tag{$x$}", r"\label{\href{URL}{x}}", r"\data{commandlinker-command=help:open}{x}",
    r"\texttip{x}{URL}", r"\mathtip{x}{y}", r"\toggle{x}{y}\endtoggle", r"\begin{equation}x\end{equation}\href{URL}{x}",
    # Defines something.
    r"\def\NAME{x}", r"\gdef\NAME{x}", r"\edef\NAME{x}", r"\xdef\NAME{x}", r"\let\NAME=\href", r"\let\alpha\beta",
    r"\global\let\alpha\beta", r"\newcommand{\NAME}{x}", r"\newcommand\NAME[1]{#1}", r"\renewcommand{\alpha}{\beta}",
    r"\providecommand{\NAME}{x}", r"\newenvironment{NAME}{x}{y}", r"\renewenvironment{matrix}{x}{y}",
    r"\futurelet\NAME x", r"\DeclareMathOperator{\NAME}{x}", r"\DeclarePairedDelimiter{\NAME}{(}{)}",
    r"\newtagform{NAME}{(}{)}", r"\usetagform{NAME}", r"\mathtoolsset{x}", r"\shortvdotswithin{x}",
    r"\DeclareMathAccent{\NAME}{x}", r"\expandafter\def\csname NAME\endcsname{x}", r"\csname href\endcsname{URL}{x}",
    r"\catcode`\%=0 %def%NAME{x}", r"^^5cdef^^5cNAME{x}", r"\char`\\ \chardef\NAME=1", r"{\def\NAME{x}}",
    r"\begingroup\def\NAME{x}\endgroup", r"\text{\def\NAME{x}}", r"\NAME", r"\newif\ifNAME",
    r"\skew{9}{\def\NAME{x}}{x}", r"\setOptions{NAME}{x}",
    # Leaves its place, or is larger than a page.
    r"\rule{9999em}{9999em}", r"\Rule{99em}{99em}{99em}", r"\hspace{999em}x", r"\hspace{-99em}x",
    r"\hspace{9em plus 99em}x", r"\hskip 999em x", r"\hskip-99em x", r"\kern 999em x", r"\kern-99em x",
    r"\mkern-999mu x", r"\mskip -999mu x", r"\raise 99em x", r"\raise99em{x}", r"\raisebox{99em}{x}", r"\lower 99em{x}",
    r"\moveleft 99em{x}", r"\moveright 99em{x}", r"\llap{xxxxxxxxxx}", r"\rlap{x}", r"\mathllap{x}", r"\mathrlap{x}",
    r"\clap{x}", r"\smash{x}", r"\vcenter{\rule{1em}{99em}}", r"\!\!\!\!\!\!\!\!\!\!\!\!\!\!x",
    r"\negthinspace\negthinspace x", r"\Huge x", r"\huge{x}", r"\LARGE x", r"\tiny x",
    r"\begin{matrix}a\\[99em]b\end{matrix}", r"\begin{matrix}a\\[-99em]b\end{matrix}",
    r"\begin{matrix}a\\*[99em]b\end{matrix}", r"\begin{matrix}a\\ [99em]b\end{matrix}",
    r"\begin{array}{*{99}{c}}a\end{array}", r"\begin{array}{p{99em}}a\end{array}",
    r"\begin{array}{@{\hspace{99em}}c}a\end{array}", r"\genfrac{(}{)}{99em}{0}{a}{b}", r"a \above 99em b",
    r"\overwithdelims() x", r"\mathmakebox[99em]{x}", r"\makebox[99em]{x}", r"\parbox{99em}{x}", r"\spreadlines{99em}",
    r"\mspace{-99mu}x", r"\xmathstrut[99]{99}", r"\adjustlimits x", r"\sideset{}{}x", r"\shoveleft[99em]{x}",
    r"\begin{spreadlines}{99em}x\end{spreadlines}",
    # Takes a long time.
    "{" * 11 + "x" + "}" * 11, "x^{" * 11 + "x" + "}" * 11, r"\color{red}" * 31 + "x", r"\displaystyle" * 31 + " x",
    "x" * 4_001, r"\mathchoice{x}{x}{x}{x}", "数" * 1_334, r"\left(" * 11 + r"\right)" * 11,
    r"\begin{matrix}" * 11 + r"\end{matrix}" * 11,
    # Is not what it seems: other environments, comments, unbalanced groups, other alphabets.
    r"\begin{NAME}x\end{NAME}", r"\begin{CD}A @>URL>> B\end{CD}", r"\begin{prooftree}\AxiomC{x}\end{prooftree}",
    r"\begin{numcases}{x}a\end{numcases}", r"\begin{empheq}[left=URL]{align}x\end{empheq}",
    r"\begin{document}x\end{document}", r"\begin {matrix}x\end {matrix}", r"\begin{matrix}x\end{pmatrix}",
    r"\begin{matrix}x", r"x\end{matrix}", r"{x", r"x}", r"\}x}", r"\left(x", r"x\right)",
    r"\left(\begin{matrix}x\right)\end{matrix}", r"x % \href{URL}{y}", r"x # y", r"x^^y", r"\verb|\href{URL}{x}|",
    r"\unicode{x41}", r"\unicode[serif]{65}", r"\char65", r"\symbol{65}", r"\ＨREF{URL}{x}", r"\'e", r"\@x", r"\-x",
    r"\/x", "\\\thref{URL}{x}", "\\\nx", r"\text{$x}", r"\text{x$}", r"\text{{$}x$}", r"\displaylines{x}",
    r"\eqalign{x}", r"\Newextarrow{\NAME}{1,1}{x}",
)  # fmt: skip

#: These are typeset, as large as they may be: they stay inside their output.
LARGE = (
    r"\!\!\!\!\!\!x", r"a\!b\!\!\!\!\!c", r"\hspace{9em}" * 200 + "x", r"\quad " * 500 + "x", "x" * 3_000,
    r"\begin{matrix}" + r"x\\[9em]" * 100 + r"\end{matrix}", r"\begin{matrix}" + "x&" * 500 + r"\end{matrix}",
    r"\left(\begin{matrix}" + r"x\\" * 300 + r"\end{matrix}\right)^{x^{x^{x}}}", r"\frac{" * 9 + "x" + "}{y}" * 9,
    r"\overbrace{" * 9 + "x" + "}" * 9, r"\xrightarrow{" * 9 + "x" + "}" * 9, r"\phantom{" + "x" * 500 + "}x",
    "x^{" * 9 + "x" + "}" * 9, "x_{" * 9 + "x" + "}" * 9, "x" + "\u0301" * 300, r"\color{red}" * 30 + "x",
)  # fmt: skip
