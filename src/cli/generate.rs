//! `egressd generate`: prints shell completions and writes manual pages. Both are derived from the
//! definitions of the arguments, so they always match the program.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory as _, Subcommand, ValueEnum, ValueHint};
use clap_complete::aot;
use clap_complete_nushell::Nushell;
use clap_mangen::Man;

use super::{Cli, Exit, Streams};

#[derive(Args)]
pub(super) struct Generate {
    #[command(subcommand)]
    artifact: Artifact,
}

#[derive(Subcommand)]
enum Artifact {
    /// Print a script that completes the commands and options of egressd in a shell
    Completions {
        /// Shell that loads the script
        shell: Shell,
    },
    /// Write a manual page for egressd and for each of its commands
    Man {
        /// Directory for the pages; created if it does not exist
        #[arg(value_hint = ValueHint::DirPath)]
        directory: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Nushell,
    Powershell,
    Zsh,
}

impl Generate {
    pub(super) fn run(self, streams: &mut Streams<'_>) -> io::Result<Exit> {
        match self.artifact {
            Artifact::Completions { shell } => {
                streams.out.write_all(&shell.completion_script())?;
                Ok(Exit::Success)
            }
            Artifact::Man { directory } => match write_manual(&directory) {
                Ok(()) => Ok(Exit::Success),
                Err(error) => {
                    writeln!(
                        streams.err,
                        "egressd generate man: cannot write the manual pages to {}: {error}",
                        directory.display()
                    )?;
                    Ok(Exit::Unavailable)
                }
            },
        }
    }
}

impl Shell {
    /// Returns the script as a whole: `clap_complete` panics if its output cannot be written, for
    /// example to a closed pipe.
    fn completion_script(self) -> Vec<u8> {
        let (mut command, mut script) = (Cli::command(), Vec::new());
        let name = command.get_name().to_owned();
        match self {
            Self::Bash => aot::generate(aot::Bash, &mut command, name, &mut script),
            Self::Elvish => aot::generate(aot::Elvish, &mut command, name, &mut script),
            Self::Fish => aot::generate(aot::Fish, &mut command, name, &mut script),
            Self::Nushell => aot::generate(Nushell, &mut command, name, &mut script),
            Self::Powershell => aot::generate(aot::PowerShell, &mut command, name, &mut script),
            Self::Zsh => aot::generate(aot::Zsh, &mut command, name, &mut script),
        }
        script
    }
}

/// Writes `egressd.1` for the program and a page such as `egressd-serve.1` for each command.
fn write_manual(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    // Without this there would also be a page for `help` and for each command that it explains.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let version = command.render_version().trim_end().to_owned();
    write_pages(&command, &version, directory)
}

/// Writes the pages of a command and of its subcommands. Each has the version in its footer, where
/// `clap_mangen` would put the bare name of the subcommand. No page has a date, so that the same
/// source gives the same pages.
fn write_pages(command: &Command, version: &str, directory: &Path) -> io::Result<()> {
    let page = Man::new(command.clone())
        // An empty date would be left out, and the version would take its place (`.TH` in man(7)).
        .date(" ")
        .source(version)
        .manual("egressd manual");
    let mut file = BufWriter::new(File::create(directory.join(page.get_filename()))?);
    page.render(&mut file)?;
    file.flush()?;
    command
        .get_subcommands()
        .try_for_each(|subcommand| write_pages(subcommand, version, directory))
}
