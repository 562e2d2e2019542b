"""Completion scripts for bash, zsh and fish, made of the declarations of a program's commands.

The scripts know the commands and their options; where an image or a container can stand they ask the program.
"""

from __future__ import annotations

from pyruntime.cli.parse import Command, Flag
from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.cli.program import Program

_BASH = """# bash completion for {name}: source this, or put it into /usr/share/bash-completion/completions/{name}
_{name}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} command= index
    COMPREPLY=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        case ${{COMP_WORDS[index]}} in
            {globals}) ((index++)) ;;
            -*) ;;
            *) command=${{COMP_WORDS[index]}}; break ;;
        esac
    done
    case $command in
        "") COMPREPLY=($(compgen -W "{commands} {flags}" -- "$word")) ;;
{cases}
    esac
    if [[ $word != -* && -n $command ]]; then
        case $command in
            {asking}) COMPREPLY+=($(compgen -W "$({name} {ask} 2>/dev/null)" -- "$word"))
                declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$word" ;;
        esac
    fi
}}
complete -o default -F _{name} {name}
"""


def _words(flags: tuple[Flag, ...]) -> list[str]:
    return [word for flag in flags if not flag.hidden
            for word in (f"--{flag.name}", *([f"-{flag.short}"] if flag.short else []))] + ["--help"]


def bash(program: Program, commands: dict[str, Command], ask: str, asking: list[str]) -> str:
    """The script for bash."""
    cases = "\n".join(f'        {name}) COMPREPLY=($(compgen -W "{" ".join(_words(command.flags))}" -- "$word")) ;;'
                      for name, command in commands.items())
    valued = "|".join(f"--{flag.name}" for flag in program.about.flags if flag.kind != "bool")
    return _BASH.format(name=program.name, commands=" ".join(commands), flags=" ".join(_words(program.about.flags)),
                        globals=valued, cases=cases, ask=ask, asking="|".join(asking))


def zsh(program: Program, commands: dict[str, Command], ask: str, asking: list[str]) -> str:
    """The script for zsh."""
    lines = [f"#compdef {program.name}", f"_{program.name}() {{", "    local -a commands images", "    commands=("]
    lines += [f"        {_quoted(f'{name}:{command.about}')}" for name, command in commands.items()]
    lines += ["    )", "    local line state", "    _arguments -C \\"]
    lines += [f"        {_option(flag)} \\" for flag in program.about.flags if not flag.hidden]
    lines += ["        '1: :->command' '*:: :->arguments'", "    case $state in",
              "        command) _describe command commands ;;", "        arguments)", "            case $line[1] in"]
    for name, command in commands.items():
        options = " ".join(_option(flag) for flag in command.flags if not flag.hidden)
        rest = "'*:name:->name'" if name in asking else "'*:file:_files'"
        lines.append(f"                {name}) _arguments {options} {rest} ;;")
    lines += ["            esac", "            [[ $state == name ]] && {",
              f"                images=(${{(f)\"$({program.name} {ask} 2>/dev/null)\"}})",
              "                compadd -a images; _files; } ;;", "    esac", "}", f"_{program.name} \"$@\"", ""]
    return "\n".join(lines)


def _option(flag: Flag) -> str:
    about = flag.help.replace("[", "(").replace("]", ")").replace(":", " ")
    value = "" if flag.kind == "bool" else f":{flag.value}:_files"
    names = f"{{-{flag.short},--{flag.name}}}" if flag.short else f"--{flag.name}"
    return f"{names}{_quoted(f'[{about}]{value}')}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def fish(program: Program, commands: dict[str, Command], ask: str, asking: list[str]) -> str:
    """The script for fish."""
    lines = [f"# fish completion for {program.name}: put it into ~/.config/fish/completions/{program.name}.fish"]
    none = "__fish_use_subcommand"
    for flag in program.about.flags:
        lines.append(_fish(program.name, none, flag))
    for name, command in commands.items():
        lines.append(f"complete -c {program.name} -n {none} -f -a {name} -d {_quoted(command.about)}")
        lines += [_fish(program.name, f"'__fish_seen_subcommand_from {name}'", flag) for flag in command.flags
                  if not flag.hidden]
    seen = f"'__fish_seen_subcommand_from {' '.join(asking)}'"
    lines.append(f"complete -c {program.name} -n {seen} -a '({program.name} {ask} 2>/dev/null)'")
    return "\n".join(lines) + "\n"


def _fish(program: str, condition: str, flag: Flag) -> str:
    short = f" -s {flag.short}" if flag.short else ""
    return (f"complete -c {program} -n {condition} -l {flag.name}{short}{'' if flag.kind == 'bool' else ' -r'}"
            f" -d {_quoted(flag.help)}")


SHELLS: dict[str, Callable[[Program, dict[str, Command], str, list[str]], str]] = {
    "bash": bash, "zsh": zsh, "fish": fish}


def script(program: Program, shell: str, ask: str, asking: list[str]) -> str:
    """The completion script of a program.

    ``ask`` is the command line after the program's name that lists what ``asking``, the commands, take. Raises
    UsageError for a shell that is not known.
    """
    if shell not in SHELLS:
        raise UsageError(f'no completion for "{shell}": {", ".join(SHELLS)} are known')
    commands = {name: program.module(name).COMMAND for name in program.commands}
    return SHELLS[shell](program, commands, ask, asking)
