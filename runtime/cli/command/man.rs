//! man: the manual page, generated from the table of commands.

use pillbox::error::Result;
use pillbox::text::roff::{capitalize, escape, flag};

use super::{COMMANDS, print};
use crate::arguments::{Arguments, Flag, GLOBAL_FLAGS, Global};

pub fn man(_: &Global, _: Arguments) -> Result<u8> {
    print(&page())?;
    Ok(0)
}

/// The page, in the macros of man(7).
fn page() -> String {
    let mut page = format!(
        ".TH PILLBOX 8 \"\" \"pillbox {}\" \"System Administration\"\n\
         .SH NAME\npillbox \\- run OCI containers\n\
         .SH SYNOPSIS\n.B pillbox\n[\\fIFLAGS\\fR] \\fICOMMAND\\fR [\\fIFLAGS\\fR] [\\fIOPERANDS\\fR]\n\
         .SH DESCRIPTION\n\
         pillbox makes, runs and removes containers as the OCI runtime specification describes them. Its command line is\n\
         that of runc and crun: long flags may be given with one dash or two, values after a space or an equals sign.\n\
         .SH FLAGS\n",
        env!("CARGO_PKG_VERSION")
    );
    add_flags(&mut page, GLOBAL_FLAGS);
    page += ".SH COMMANDS\n";
    for command in COMMANDS {
        let operands = if command.operands.is_empty() {
            String::new()
        } else {
            format!(" \\fI{}\\fR", escape(command.operands))
        };
        page += &format!(".SS {}{operands}\n{}.\n", escape(command.name), escape(&capitalize(command.help)));
        add_flags(&mut page, command.flags);
    }
    page += ".SH EXIT STATUS\n\
             0 on success, 1 on failure; of\n.BR run ,\n.B try\nand\n.BR wait :\n\
             the status of the container's program, or 128 and the number of the signal that ended it.\n\
             .SH FILES\n.TP\n.I /run/pillbox\nThe state of root's containers.\n\
             .TP\n.I $XDG_RUNTIME_DIR/pillbox\nThe state of an ordinary user's containers.\n\
             .SH SEE ALSO\n.BR runc (8),\n.BR crun (1),\n.BR namespaces (7),\n.BR cgroups (7)\n";
    page
}

fn add_flags(page: &mut String, flags: &[Flag]) {
    for Flag { long, short, value, help } in flags {
        let value = value.map_or(String::new(), |value| format!(" \\fI{}\\fR", escape(value)));
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
            for flag in command.flags {
                assert!(page.contains(&escape(&format!("--{}", flag.long))), "{}", flag.long);
            }
        }
        // Only macros of man(7) may begin a line with a dot.
        for line in page.lines().filter(|line| line.starts_with('.')) {
            let name = line[1..].split(' ').next().unwrap_or_default();
            assert!(["TH", "SH", "SS", "TP", "B", "BR", "I"].contains(&name), "{line}");
        }
    }
}
