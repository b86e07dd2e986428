//! man: the manual page, from the table of commands.

use pillbox::text::roff::{capitalize, escape, flag};

use super::arguments::{GLOBAL_FLAGS, is_optional};
use super::{Arguments, COMMANDS, Command, Flag, Global, print};
use crate::error::Result;
use crate::order;

pub const COMMAND: Command = Command {
    name: "man",
    aliases: &[],
    operands: "",
    operand_count: 0..=0,
    help: "write the manual page: box man | man -l -",
    flags: &[],
    ends_at_operand: false,
    run: man,
};

fn man(_: &Global, _: &Arguments) -> Result<u8> {
    print(&page())
}

/// The page, in the macros of man(7).
fn page() -> String {
    let mut page = format!(
        ".TH BOX 1 \"\" \"box {}\" \"User Commands\"\n\
         .SH NAME\nbox \\- containers from images, without a daemon\n\
         .SH SYNOPSIS\n.B box\n[\\fIFLAGS\\fR] \\fICOMMAND\\fR [\\fIFLAGS\\fR] [\\fIOPERANDS\\fR]\n\
         .SH DESCRIPTION\n\
         box pulls, builds and runs images, as root and as an ordinary user. Commands and flags are those of\n\
         .BR docker (1).\n\
         .SH FLAGS\n",
        env!("CARGO_PKG_VERSION")
    );
    add_flags(&mut page, &[GLOBAL_FLAGS]);
    page += ".SH COMMANDS\n";
    for Command { name, aliases, operands, help, flags, .. } in COMMANDS {
        let operands =
            if operands.is_empty() { String::new() } else { format!(" \\fI{}\\fR", escape(operands)) };
        page += &format!(".SS {}{operands}\n{}.\n", escape(name), escape(&capitalize(help)));
        if !aliases.is_empty() {
            page += &format!("Also: box {}.\n", escape(&aliases.join(", box ")));
        }
        add_flags(&mut page, flags);
    }
    page += ".SH EXIT STATUS\n\
             Of\n.BR run :\n\
             that of the program, 128 and the number of the signal that ended it, 125 if box failed, 126 if the program cannot be\n\
             executed, 127 if it was not found. Of other commands: 0 on success, 1 if they failed, 125 if the command line cannot be.\n\
             .SH FILES\n.TP\n.I /var/lib/pillbox\nImages, containers and volumes of root.\n\
             .TP\n.I ~/.local/share/pillbox\nThose of an ordinary user.\n\
             .TP\n.IR /run/pillbox \", \" $XDG_RUNTIME_DIR/pillbox\nThe state of what runs.\n\
             .SH SEE ALSO\n.BR pillbox (8),\n.BR docker (1),\n.BR podman (1)\n";
    page
}

fn add_flags(page: &mut String, groups: &[&[Flag]]) {
    let mut flags: Vec<&Flag> = groups.iter().copied().flatten().collect();
    order::sort_by_key(&mut flags, |flag| flag.long);
    for Flag { long, short, value, help } in flags {
        let value = match value {
            None => String::new(),
            Some(value) if is_optional(value) => format!("\\fI{}\\fR", escape(value)),
            Some(value) => format!(" \\fI{}\\fR", escape(value)),
        };
        *page += &flag(long, *short, &value, help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_and_flag() {
        let page = page();
        for command in COMMANDS {
            assert!(page.contains(&format!(".SS {}", escape(command.name))), "{}", command.name);
            for flag in command.flags.iter().copied().flatten() {
                assert!(page.contains(&escape(&format!("--{}", flag.long))), "{}", flag.long);
            }
        }
        // Only macros of man(7) may begin a line with a dot.
        for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
            let name = line[1..].split(' ').next().unwrap_or_default();
            assert!(["TH", "SH", "SS", "TP", "B", "BR", "I", "IR"].contains(&name), "{line}");
        }
    }
}
