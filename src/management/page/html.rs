//! Writing HTML. Markup can only be a literal of this program, and everything else is escaped: no value can become markup.

use std::fmt::{self, Display, Write as _};

/// A page in the making.
pub(super) struct Html(String);

impl Html {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// Markup. Attribute values that are to follow stand in double quotes.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// A value, as text or inside a quoted attribute.
    pub(super) fn text(&mut self, value: impl Display) -> &mut Self {
        // A string takes whatever is written to it.
        let _infallible = write!(Escaping(&mut self.0), "{value}");
        self
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                c if c.is_control() => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Html;

    #[test]
    fn a_value_never_becomes_markup() {
        let mut html = Html::with_capacity(0);
        html.raw("<p title=\"")
            .text("\" onclick='x")
            .raw("\">")
            .text(format_args!("<b>&amp;{}</b>\r\n\u{1b}[31m\0ä", 7))
            .raw("</p>");
        assert_eq!(
            html.finish(),
            "<p title=\"&quot; onclick=&#39;x\">&lt;b&gt;&amp;amp;7&lt;/b&gt;\u{fffd}\n\u{fffd}[31m\u{fffd}ä</p>"
        );
    }
}
