//! Compares the scopes that a provider has granted with the requested ones.

/// Scopes that many providers do not repeat in their answers.
const UNREPORTED: [&str; 6] = [
    "openid",
    "profile",
    "email",
    "offline_access",
    "refresh_token",
    ".default",
];

/// Returns the requested scopes that are not among the granted ones. Scopes are separated by
/// spaces or commas, and only their part after the last slash counts, in any case.
pub fn missing_scopes<'r>(requested: &'r str, granted: &str) -> Vec<&'r str> {
    let granted: Vec<String> = split(granted).map(comparable).collect();
    split(requested)
        .filter(|scope| {
            let scope = comparable(scope);
            !UNREPORTED.contains(&scope.as_str()) && !granted.contains(&scope)
        })
        .collect()
}

fn split(scopes: &str) -> impl Iterator<Item = &str> {
    scopes
        .split([' ', ',', '\t', '\n', '\r'])
        .filter(|scope| !scope.is_empty())
}

fn comparable(scope: &str) -> String {
    let last = scope.rsplit('/').next().unwrap_or(scope);
    last.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::missing_scopes;

    #[test]
    fn scopes_are_compared_as_providers_write_them() {
        // F-324
        for (requested, granted, missing) in [
            ("read:user", "read:user", &[][..]),
            ("read write", "write,read", &[]),
            ("User.Read", "https://graph.microsoft.com/user.read", &[]),
            (
                "https://api.test/auth/calendar.readonly openid",
                "calendar.readonly",
                &[],
            ),
            ("offline_access openid profile email .default", "", &[]),
            ("repo gist", "repo", &["gist"]),
            ("repo gist", "", &["repo", "gist"]),
        ] {
            assert_eq!(missing_scopes(requested, granted), missing, "{requested}");
        }
    }
}
