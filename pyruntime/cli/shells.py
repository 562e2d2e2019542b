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

# Readline ends words at colons, of which names are full: the words are taken from the line itself, and what stands
# before the last colon is taken off the answers again.
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
            {globals}) globals+=("${{words[index]}}" "${{words[index + 1]-}}"); ((index++)) ;;
            -*) globals+=("${{words[index]}}") ;;
            *) command=${{words[index]}}; break ;;
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
            {asking}) COMPREPLY=($(compgen -W "$({name} "${{globals[@]}}" {ask} 2>/dev/null)" -- "$word")) ;;
        esac
        [[ $COMP_WORDBREAKS == *:* && $word == *:* ]] && COMPREPLY=("${{COMPREPLY[@]#"${{word%"${{word##*:}}"}}"}}")
    fi
}}
complete -o default -F _{name} {name}
"""


def _words(flags: tuple[Flag, ...], *, valued: bool = False) -> list[str]:
    """The words of options; with ``valued`` of those alone after which a value follows."""
    return [word for flag in flags if not flag.hidden and not (valued and flag.switch)
            for word in (f"--{flag.name}", *([f"-{flag.short}"] if flag.short else []))] + (
                [] if valued else ["--help"])


def bash(program: Program, commands: dict[str, Command], ask: str, asking: list[str]) -> str:
    """The script for bash."""
    cases = "\n".join(f'        {name}) valued="{" ".join(_words(command.flags, valued=True))}"\n'
                      f'            COMPREPLY=($(compgen -W "{" ".join(_words(command.flags))}" -- "$word")) ;;'
                      for name, command in commands.items())
    return _BASH.format(name=program.name, commands=" ".join(commands), flags=" ".join(_words(program.about.flags)),
                        globals="|".join(_words(program.about.flags, valued=True)), cases=cases, ask=ask,
                        asking="|".join(asking))


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
    value = "" if flag.switch else f":{flag.value}:_files"
    names = f"{{-{flag.short},--{flag.name}}}" if flag.short else f"--{flag.name}"
    many = "'*'" if flag.kind == "list" else ""
    return f"{many}{names}{_quoted(f'[{about}]{value}')}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def fish(program: Program, commands: dict[str, Command], ask: str, asking: list[str]) -> str:
    """The script for fish."""
    lines = [f"# fish completion for {program.name}: put it into ~/.config/fish/completions/{program.name}.fish"]
    none = "__fish_use_subcommand"
    lines += [_fish(program.name, none, flag) for flag in program.about.flags if not flag.hidden]
    for name, command in commands.items():
        lines.append(f"complete -c {program.name} -n {none} -f -a {name} -d {_in_fish(command.about)}")
        lines += [_fish(program.name, f"'__fish_seen_subcommand_from {name}'", flag) for flag in command.flags
                  if not flag.hidden]
    seen = f"'__fish_seen_subcommand_from {' '.join(asking)}'"
    lines.append(f"complete -c {program.name} -n {seen} -a "
                 + _in_fish(f"({program.name} {ask} 2>/dev/null)"))
    return "\n".join(lines) + "\n"


def _fish(program: str, condition: str, flag: Flag) -> str:
    short = f" -s {flag.short}" if flag.short else ""
    return (f"complete -c {program} -n {condition} -l {flag.name}{short}{'' if flag.switch else ' -r'}"
            f" -d {_in_fish(flag.help)}")


def _in_fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


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
