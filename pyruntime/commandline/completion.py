"""Completion scripts for bash, zsh and fish, generated from the declarations of a program's commands.

The scripts contain the commands, including those of two words, and their options; for names of images, containers,
networks and volumes they run the program.
"""

from __future__ import annotations

from pyruntime.commandline.groups import Group, every_command
from pyruntime.commandline.parse import Flag
from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyruntime.commandline.program import Program


class Names:
    """Names that commands take. ``commands``: these commands; ``asks``: the program's arguments that print the names;
    ``files``: the commands that also take files."""

    def __init__(self, commands: Sequence[str], *asks: str, files: Sequence[str] = ()) -> None:
        self.commands = commands
        self.asks = asks
        self.files = files


class _Tree:
    """A program's commands: ``every`` by their one or two words, ``groups`` with their members' names."""

    def __init__(self, program: Program) -> None:
        self.every = every_command(program)
        self.groups = {name: command for name, command in self.every.items() if isinstance(command, Group)}


# Readline ends words at colons, which are common in names: the words are taken from the line itself, and the part
# before the last colon is removed from the answers.
_BASH = """# bash completion for {name}: source this, or put it into /usr/share/bash-completion/completions/{name}
_{name}() {{
    local line=${{COMP_LINE:0:COMP_POINT}} command= valued= index
    local word=${{line##*[[:space:]]}}
    local -a words globals=()
    read -ra words <<<"${{line%"$word"}}"
    local count=${{#words[@]}}
    COMPREPLY=()
    for ((index = 1; index < count; index++)); do
        case ${{words[index]}} in
            {globals}) [[ -n $command ]] && continue
                globals+=("${{words[index]}}" "${{words[index + 1]-}}"); ((index++)) ;;
            -*) [[ -n $command ]] || globals+=("${{words[index]}}") ;;
            *) command+=${{command:+ }}${{words[index]}}
               case $command in
                   {groups}) ;;
                   *) break ;;
               esac ;;
        esac
    done
    ((index > count)) && return   # the value of a global option
    case $command in
        "") COMPREPLY=($(compgen -W "{commands} {flags}" -- "$word")); return ;;
{cases}
    esac
    if ((count > 1)) && [[ " $valued " == *" ${{words[count - 1]}} "* ]]; then
        COMPREPLY=()   # the value of an option: the default, files
    elif [[ $word != -* ]]; then
        case $command in
{asking}
        esac
        [[ $COMP_WORDBREAKS == *:* && $word == *:* ]] && COMPREPLY=("${{COMPREPLY[@]#"${{word%"${{word##*:}}"}}"}}")
    fi
}}
complete -o default -F _{name} {name}
"""


def _words(flags: tuple[Flag, ...], *, valued: bool = False) -> list[str]:
    """The options as words; with ``valued``, only the options that take a value."""
    return [word for flag in flags if not flag.hidden and not (valued and flag.switch)
            for word in (f"--{flag.name}", *([f"-{flag.short}"] if flag.short else []))] + (
                [] if valued else ["--help"])


def bash(program: Program, tree: _Tree, names: Sequence[Names]) -> str:
    """The script for bash."""
    cases = [f'        "{path}") COMPREPLY=($(compgen -W "{" ".join(group.members)} --help" -- "$word")); return ;;'
             for path, group in tree.groups.items()]
    cases += [f'        "{path}") valued="{" ".join(_words(command.flags, valued=True))}"\n'
              f'            COMPREPLY=($(compgen -W "{" ".join(_words(command.flags))}" -- "$word")) ;;'
              for path, command in tree.every.items() if path not in tree.groups]
    asking = [f'            {_either(entry.commands)}) COMPREPLY=($(compgen -W "$({{ '
              + "; ".join(f'{program.name} "${{globals[@]}}" {ask}' for ask in entry.asks)
              + '; } 2>/dev/null)" -- "$word")) ;;' for entry in names]
    return _BASH.format(name=program.name, commands=" ".join(program.commands), cases="\n".join(cases),
                        flags=" ".join(_words(program.about.flags)), groups=_either(list(tree.groups) or ["-"]),
                        globals="|".join(_words(program.about.flags, valued=True)), asking="\n".join(asking))


def _either(paths: Sequence[str]) -> str:
    return "|".join(f'"{path}"' for path in paths)


def zsh(program: Program, tree: _Tree, names: Sequence[Names]) -> str:
    """The script for zsh, to be sourced, or to be put into a directory of $fpath."""
    name = program.name
    lines = [f"#compdef {name}", f"_{name}() {{", "    local context state state_descr line", "    typeset -A opt_args",
             "    local -a words_of", *_described("    ", {path: command.about for path, command in tree.every.items()
                                                           if " " not in path}), "    _arguments -C \\"]
    lines += [f"        {_option(flag)} \\" for flag in program.about.flags if not flag.hidden]
    lines += ["        '1: :->command' '*:: :->arguments'", "    case $state in",
              "        command) _describe command words_of ;;", "        arguments)", "            case $line[1] in"]
    for path in tree.every:
        if path in tree.groups:
            lines += [f"                {path})",
                      *_described("                    ", tree.groups[path].members),
                      "                    _arguments -C '1: :->command' '*:: :->arguments'",
                      "                    case $state in",
                      "                        command) _describe command words_of ;;",
                      "                        arguments) case $line[1] in",
                      *(f"                            {member}) {_arguments(f'{path} {member}', tree, names)} ;;"
                        for member in tree.groups[path].members),
                      "                        esac ;;", "                    esac ;;"]
        elif " " not in path:
            lines.append(f"                {path}) {_arguments(path, tree, names)} ;;")
    lines += ["            esac ;;", "    esac", "    case $state in"]
    lines += [f"        names{number}) words_of=(${{(f)\"$({{ {'; '.join(f'{name} {ask}' for ask in entry.asks)}; }}"
              " 2>/dev/null)\"}); compadd -a words_of || _files ;;" for number, entry in enumerate(names)]
    # A sourced script only declares the function; a script that compinit finds in $fpath is the function's first call.
    return "\n".join([*lines, "    esac", "}", f'if [[ $funcstack[1] == _{name} ]]; then _{name} "$@"; else',
                      f"    compdef _{name} {name}", "fi", ""])


def _described(indent: str, about: dict[str, str]) -> list[str]:
    return [f"{indent}words_of=(", *(f"{indent}    {_quoted(f'{name}:{text}')}" for name, text in about.items()),
            f"{indent})"]


def _arguments(path: str, tree: _Tree, names: Sequence[Names]) -> str:
    options = " ".join(_option(flag) for flag in tree.every[path].flags if not flag.hidden)
    rest = next((f"'*:name:->names{number}'" for number, entry in enumerate(names) if path in entry.commands),
                "'*:file:_files'")
    return f"_arguments -C {options} {rest}"


def _option(flag: Flag) -> str:
    about = flag.help.replace("[", "(").replace("]", ")").replace(":", " ")
    value = "" if flag.switch else f":{flag.value.replace('[', '(').replace(']', ')').replace(':', ' ')}:_files"
    names = f"{{-{flag.short},--{flag.name}}}" if flag.short else f"--{flag.name}"
    many = "'*'" if flag.kind == "list" else ""
    return f"{many}{names}{_quoted(f'[{about}]{value}')}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# The commands of the line, without options, and without the values of global ones.
_FISH = """# fish completion for {name}: put it into ~/.config/fish/completions/{name}.fish
function __{name}_words
    set -l found
    set -l skipped 0
    for word in (commandline -opc)[2..-1]
        if test $skipped = 1
            set skipped 0
        else if test (count $found) = 0; and contains -- $word {globals}
            set skipped 1
        else if not string match -q -- '-*' $word
            set -a found $word
        end
    end
    string join ' ' $found
end
function __{name}_at
    string match -q -- "$argv*" (__{name}_words)' '
end
"""


def fish(program: Program, tree: _Tree, names: Sequence[Names]) -> str:
    """The script for fish."""
    name = program.name
    text = _FISH.format(name=name, globals=" ".join(_words(program.about.flags, valued=True)))
    none = f"'test -z (__{name}_words | string collect -a)'"
    lines = [_fish(name, none, flag) for flag in program.about.flags if not flag.hidden]
    for path, command in tree.every.items():
        above, _, last = path.rpartition(" ")
        here = f"'test (__{name}_words | string collect -a) = {above}'" if above else none
        lines.append(f"complete -c {name} -n {here} -f -a {last} -d {_in_fish(command.about)}")
        if path not in tree.groups:
            lines += [_fish(name, f"'__{name}_at {path} '", flag) for flag in command.flags if not flag.hidden]
    for entry in names:
        asks = _in_fish("(" + "; ".join(f"{name} {ask} 2>/dev/null" for ask in entry.asks) + ")")
        lines += [f"complete -c {name} -n '__{name}_at {path} '{'' if path in entry.files else ' -f'} -a {asks}"
                  for path in entry.commands]
    return text + "\n".join(lines) + "\n"


def _fish(program: str, condition: str, flag: Flag) -> str:
    short = f" -s {flag.short}" if flag.short else ""
    return (f"complete -c {program} -n {condition} -l {flag.name}{short}{'' if flag.switch else ' -r'}"
            f" -d {_in_fish(flag.help)}")


def _in_fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: dict[str, Callable[[Program, _Tree, Sequence[Names]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}


def script(program: Program, shell: str, names: Sequence[Names]) -> str:
    """The completion script of a program. Raises UsageError for an unknown shell."""
    if shell not in SHELLS:
        raise UsageError(f'no completion for "{shell}": choose one of {", ".join(SHELLS)}')
    return SHELLS[shell](program, _Tree(program), names)
