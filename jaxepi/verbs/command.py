"""The command line of both programs, launch.py and jaxepi: which verb, its options, the config, and what cannot be."""

import argparse
import importlib
import os
import re
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

from jaxepi.console import DEBUG, INTERRUPTED, exit_status
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.parallel.signals import handling
from jaxepi.verbs.config_file import example, field_of, fields, read_config, run_name

VERBS = {
    "train": "jaxepi.verbs.train",
    "eval": "jaxepi.verbs.eval",
    "crossval": "jaxepi.verbs.crossval",
    "predict": "jaxepi.verbs.predict",
    "embed": "jaxepi.verbs.embed",
    "impute": "jaxepi.verbs.impute",
    "motifs": "jaxepi.verbs.inside.motifs",
    "mutagenesis": "jaxepi.verbs.inside.mutagenesis",
    "attention": "jaxepi.verbs.inside.attention",
    "verify": "jaxepi.verbs.verify",
    "configs": "jaxepi.verbs.configs",
    "prep": "jaxepi.verbs.prep",
}
ALIASES = {"effects": "mutagenesis"}
DEFAULT = "train"
_HELP = ("-h", "--help")


class Verb(Protocol):
    """What a file of this folder that is named in VERBS offers; importing it must not import jax."""

    ABOUT: str  # one sentence for the help

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declares the verb's options, with dashes in their names; users may write underscores.

        A verb that works on several files or folders may take them as words, `nargs="*"`, which come in front.
        """

    def run(self, options: argparse.Namespace, config: object, workdir: Path | None) -> int | None:
        """Does the work.

        Args:
          options: the verb's own, parsed.
          config: of --config with its fields set, or None.
          workdir: of --workdir, else runs/<config>[_<variant>], else None.

        Returns: the exit status; None is 0.
        """


class Parser(argparse.ArgumentParser):
    """Options whose mistakes are a `JaxepiError` of one sentence."""

    def __init__(self, prog: str, about: str = ""):
        super().__init__(prog=prog, description=about, add_help=False, allow_abbrev=False, exit_on_error=False)

    def parse(self, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Options, and in order the words that are none of them.

        Raises:
          JaxepiError: a value that is missing or does not fit.
        """
        try:
            return self.parse_known_args(_with_values(words))
        except argparse.ArgumentError as problem:
            option, text = problem.argument_name, problem.message
            if not text.startswith("is "):  # argparse's own words, not those of jaxepi.verbs.options
                text = "takes no value." if "explicit argument" in text else "needs a value."
            raise JaxepiError(f"{option} {text}") from None

    def error(self, message: str) -> NoReturn:
        raise JaxepiError(f"{self.prog}: {message}.")

    def names(self) -> list[str]:
        """All options, in order, but for those that every verb has."""
        return [name for name in re.findall(r"--[\w-]+", self.format_usage()) if name not in (*_HELP, DEBUG)]


def main(argv: Sequence[str] | None = None, prog: str = "jaxepi") -> int:
    """Runs one verb; may be called many times in one process.

    Args:
      argv: the words behind the program's name; None for those of this process.
      prog: the program's name, for messages.

    Returns: the exit status: 0 done, 1 a mistake of the program, 2 wrong input (told in one sentence), 130 interrupted.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's own logger
    given = list(sys.argv[1:] if argv is None else argv)
    words, debug = [word for word in given if word != DEBUG], DEBUG in given
    doing = " ".join([prog, *(word for word in words[:1] if word in (*VERBS, *ALIASES))])
    status = exit_status(lambda: _main(words, prog, debug), interrupted="\ninterrupted", doing=doing, debug=debug)
    if status == INTERRUPTED and argv is None:
        _leave(status)
    return status


def _leave(status: int) -> None:
    """Ends the process of an interrupted program: jax's own end waits for what it compiles, and may crash on it."""
    jax = sys.modules.get("jax")
    if jax is not None and not jax.distributed.is_initialized():  # hosts take leave of each other
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _main(words: list[str], prog: str, debug: bool) -> int | None:
    name, words = split_verb(words)
    if name is None and any(word in _HELP for word in words):
        print(overview(prog))
        return 0
    name = name or DEFAULT
    verb = load_verb(name)
    if getattr(verb, "PASSES_ON", False):
        words += [DEBUG] if debug else []
        return verb.run(argparse.Namespace(words=words, prog=f"{prog} {name}"), None, None)
    parser = make_parser(name, prog)
    options, rest = parser.parse([_dashed(word) for word in words])
    if options.help:
        parser.print_help()
        return 0
    given = getattr(options, "config", None)
    _check_rest(rest, name, given)
    config = read_config(given, rest) if given is not None else None
    folder = getattr(options, "workdir", None)
    if folder is None and given is not None:
        folder = Path("runs") / run_name(given)
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not in the background jobs of a shell
    with handling([signal.SIGINT] * heard, signal.default_int_handler, may_leave=lambda came: True):
        return verb.run(options, config, None if folder is None else Path(folder))


def split_verb(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The verb that a command line names as its first word or by --mode, None if it names none, and the other words.

    Raises:
      JaxepiError: no such verb, or two of them.
    """
    named = [_verb_of(word) for word in words[:1] if not word.startswith("-")]
    words = list(words[len(named) :])
    if any(getattr(load_verb(name), "PASSES_ON", False) for name in named):
        return named[0], words
    modes = Parser("")
    modes.add_argument("--mode", action="append", default=[])
    options, words = modes.parse(words)
    named += [_verb_of(word) for word in options.mode]
    if len(set(named)) > 1:
        raise JaxepiError(f"Both {named[0]} and {named[-1]} are to be done; give one verb.")
    return (named[0] if named else None), words


def _verb_of(word: str) -> str:
    if word not in VERBS and word not in ALIASES:
        near = did_you_mean(word, [*VERBS, *ALIASES])
        raise JaxepiError(f"There is no verb {word!r}{near}; known are {', '.join(VERBS)}.")
    return ALIASES.get(word, word)


def load_verb(name: str) -> Verb:
    """The module of a verb."""
    return importlib.import_module(VERBS[name])  # type: ignore[return-value]


def make_parser(name: str, prog: str) -> Parser:
    """The options of a verb."""
    verb = load_verb(name)
    parser = Parser(f"{prog} {name}", verb.ABOUT)
    parser.add_argument(*_HELP, action="store_true", help="show this and leave")
    parser.add_argument(DEBUG, action="store_true", help="show the traceback of an error")  # `main` takes it out
    verb.add_options(parser)
    return parser


def overview(prog: str) -> str:
    """The help of the program: its verbs, each with its sentence."""
    also = {name: [alias for alias, verb in ALIASES.items() if verb == name] for name in VERBS}
    lines = [f"  {name:<12} {load_verb(name).ABOUT}{_also(also[name])}" for name in VERBS]
    return "\n".join(
        [
            f"usage: {prog} [VERB] [OPTIONS]   ({prog} VERB --help lists the options of a verb)",
            "",
            f"`{prog} --config NAME[:VARIANT]` trains. --mode VERB anywhere on the line is the same as VERB in front.",
            "",
            *lines,
        ]
    )


def _also(aliases: Sequence[str]) -> str:
    return f" Also called {', '.join(aliases)}." if aliases else ""


def _dashed(word: str) -> str:
    """`--most_sites=9` as `--most-sites=9`; a word that is no option of any verb stays as it is."""
    option, equals, value = word.partition("=")
    dashed = option.replace("_", "-")
    return dashed + equals + value if "_" in option and _owners(dashed) else word


def _with_values(words: Sequence[str]) -> list[str]:
    """`--shifts -1,0,1` as `--shifts=-1,0,1`: argparse takes only a single number for a value and no option."""
    joined: list[str] = []
    for word in words:
        follows = bool(joined) and joined[-1].startswith("--") and "=" not in joined[-1]
        if follows and re.match(r"-\d", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _owners(option: str) -> list[str]:
    """The verbs that have an option."""
    return [name for name in VERBS if option in make_parser(name, "").names()]


def _check_rest(rest: Sequence[str], verb: str, given: str | None) -> None:
    """Raises JaxepiError if a word is neither a field of the config nor the value of one."""
    value_of = None  # the field that the next word may be the value of
    for word in rest:
        if field_of(word) is not None:
            if given is None:
                raise JaxepiError(
                    f"{word.partition('=')[0]} needs --config, the experiment whose field it sets, such as "
                    f"--config {example()}."
                )
            value_of = None if "=" in word else word
        elif word.startswith("--") or (word.startswith("-") and value_of is None):  # -1 may be the value of a field
            _refuse_option(word.partition("=")[0], verb, given)
        elif value_of is None:
            place = ": a verb comes first on the line" if word in VERBS or word in ALIASES else ""
            raise JaxepiError(f"{word!r} is no option{place}; values are given as --option=value or --option value.")
        else:
            value_of = None


def _refuse_option(option: str, verb: str, given: str | None) -> NoReturn:
    """Raises JaxepiError: the option is another verb's, or nobody's."""
    own, owners = make_parser(verb, "").names(), _owners(option)
    has = f"{verb} has {', '.join(own) or 'no options'}"
    if owners:
        raise JaxepiError(f"{option} belongs to {_listed(owners)}; {has}.")
    names = [name.lstrip("-") for name in own]
    if given is not None:
        names += [f"config.{name}" for name, _ in fields(read_config(given, []))]
    raise JaxepiError(
        f"Unknown option {option}{did_you_mean(option.lstrip('-'), names)}; {has}, and fields of the config are set "
        "with --config.FIELD=VALUE."
    )


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
