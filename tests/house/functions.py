"""Finds C++ functions and their length, well enough for a report: comments and literals blanked, braces counted."""
import re

_BLANK = re.compile(
    r"//[^\n]*|/\*.*?\*/"
    r'|R"(?P<tag>[^()\\ ]{0,16})\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9A-Za-z])'(?:\\.|[^'\\\n])+'",
    re.S,
)
_NOT_A_FUNCTION = re.compile(r"^\s*(?:(?:inline|export)\s+)*(?:namespace|class|struct|enum|union|extern)\b")


def blanked(text):
    """The text with comments and literals replaced by spaces; line numbers stay."""
    return _BLANK.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def long_functions(text, limit):
    """Yields (first line, lines) of every outermost function body longer than `limit`."""
    code = blanked(text)
    scopes = []  # per open brace: the line where a function's declaration begins, or None
    start = 0  # where the current declaration begins
    for at, char in enumerate(code):
        if char in ";}" and not any(scopes):
            start = at + 1
        if char == "{":
            declaration = code[start:at]
            inside = any(scopes)
            function = not inside and "(" in declaration and not _NOT_A_FUNCTION.match(declaration)
            first = code.count("\n", 0, start + len(declaration) - len(declaration.lstrip())) + 1
            scopes.append(first if function else None)
            if not function and not inside:
                start = at + 1
        elif char == "}" and scopes:
            first = scopes.pop()
            if first is not None:
                lines = code.count("\n", 0, at) + 1 - first + 1
                if lines > limit:
                    yield first, lines
            if not any(scopes):
                start = at + 1
