//! What is pure about directories: the section, the templates that names are put into, which names may be asked for. Contract section 4

mod config;
mod template;

pub use self::config::{GroupsConfig, LdapConfig, LdapMode, SearchConfig};
pub use self::template::{DnTemplate, FilterTemplate, InvalidTemplate};

/// Longer than any directory's names; a name is escaped to at most three times its length.
const NAME_LENGTH_MAX: usize = 256;

/// Whether a name may be put into a template at all. Blanks at either end are refused because directories ignore them: one person would have many names.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("empty name");
    }
    if name.trim() != name {
        return Err("blank at an end of the name");
    }
    if name.len() > NAME_LENGTH_MAX {
        return Err("name too long");
    }
    // A packet's text has none; an HTTP login comes through here too.
    if name.chars().any(char::is_control) {
        return Err("control character in the name");
    }
    Ok(())
}

/// In bind mode the name stays as the client wrote it, and a directory takes many spellings for one: full-width letters, invisible characters, doubled blanks
/// (RFC 4518). Only plain names are asked there, so that nobody gets around a rule by another spelling of his name; `search_bind` takes all, for it learns the
/// directory's own. Upper and lower case stay a difference, as the contract says.
pub fn check_bind_name(name: &str) -> Result<(), &'static str> {
    if !name.is_ascii() || name.contains("  ") {
        return Err("a name beyond plain ASCII needs mode: search_bind");
    }
    Ok(())
}

/// Whether a password may be sent in a bind. An empty one is an unauthenticated bind, which succeeds for everybody (RFC 4513 section 5.1.2); one that a directory
/// may cut down to empty is the same (IDN-5).
pub fn check_password(password: &[u8]) -> Result<&str, &'static str> {
    let password = std::str::from_utf8(password).map_err(|_| "password is not UTF-8")?;
    if password.trim().is_empty() {
        return Err("empty password");
    }
    if password.contains('\0') {
        return Err("NUL in the password");
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idn_05_a_password_that_may_be_taken_for_empty_is_refused() {
        let rows: [(&[u8], bool); 9] = [
            (b"secret", true),
            (b" secret ", true),
            (b"", false),
            (b" ", false),
            (b"\t\n", false),
            (b"\0", false),
            (b"\0secret", false),
            (b"secret\0", false),
            (b"\xff", false),
        ];
        for (password, good) in rows {
            assert_eq!(check_password(password).is_ok(), good, "{password:?}");
        }
    }

    #[test]
    fn idn_06_a_bound_name_has_one_spelling() {
        let rows = [
            ("alice", true),
            ("a b", true),
            ("a  b", false),
            ("\u{ff41}lice", false),
            ("ali\u{200b}ce", false),
            ("ünï", false),
        ];
        for (name, good) in rows {
            assert_eq!(check_bind_name(name).is_ok(), good, "{name:?}");
        }
    }

    #[test]
    fn idn_06_a_name_has_no_blanks_at_its_ends() {
        let long = "x".repeat(64 << 10);
        let rows = [
            ("alice", true),
            ("*", true),
            ("a b", true),
            ("", false),
            (" alice", false),
            ("alice ", false),
            ("a\0", false),
            (&long, false),
        ];
        for (name, good) in rows {
            assert_eq!(check_name(name).is_ok(), good, "{:.20?}", name);
        }
    }
}
