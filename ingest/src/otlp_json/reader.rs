//! JSON text, value by value and in order. Nothing is kept but the place.
//!
//! Source: RFC 8259.

use std::borrow::Cow;

use super::fault::{Fault, Problem, Quoted, Result, shorten};
use super::number::Decimal;

/// How deep objects and lists may nest.
///
/// No message of OTLP holds itself without a list in between, so this keeps requests within the 100 nested messages
/// that protobuf decoders take.
pub(super) const MAX_DEPTH: usize = 128;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// What a value is, as its first character tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    List,
    String,
    Number,
    True,
    False,
    Null,
}

/// A place in a text.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    offset: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self> {
        let text =
            std::str::from_utf8(text).map_err(|error| Fault::new(error.valid_up_to(), Problem::NotUtf8))?;
        let offset = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
        Ok(Self { text, offset, depth: 0 })
    }

    /// Moves to the next value and says what it is.
    pub(super) fn peek(&mut self) -> Result<Kind> {
        self.skip_white_space();
        match self.next_byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::List),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't') => Ok(Kind::True),
            Some(b'f') => Ok(Kind::False),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Reads an object: `member` is given each name, and reads the value.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<()>,
    ) -> Result<()> {
        self.open(Kind::Object, "an object")?;
        let mut is_open = !self.take(b'}');
        while is_open {
            let name = self.name()?;
            member(self, name)?;
            is_open = self.another(b'}')?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a list: `element` is given each index, and reads the value.
    pub(super) fn list(&mut self, mut element: impl FnMut(&mut Self, usize) -> Result<()>) -> Result<()> {
        self.open(Kind::List, "a list")?;
        let mut is_open = !self.take(b']');
        let mut index = 0;
        while is_open {
            element(self, index)?;
            index += 1;
            is_open = self.another(b']')?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads the string that [`Self::peek`] has seen.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>> {
        self.offset += 1;
        let mut unescaped = String::new();
        loop {
            let rest = &self.text[self.offset..];
            let is_special = |byte: u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            let plain = rest.bytes().position(is_special).unwrap_or(rest.len());
            self.offset += plain;
            match rest.as_bytes().get(plain) {
                Some(b'"') => {
                    self.offset += 1;
                    // An escape never stands for nothing.
                    if unescaped.is_empty() {
                        return Ok(Cow::Borrowed(&rest[..plain]));
                    }
                    unescaped.push_str(&rest[..plain]);
                    return Ok(Cow::Owned(unescaped));
                }
                Some(b'\\') => {
                    unescaped.push_str(&rest[..plain]);
                    unescaped.push(self.escape()?);
                }
                Some(&control) => {
                    return Err(Fault::new(self.offset, Problem::ControlCharacter(control.into())));
                }
                None => return Err(self.unexpected("the end of a string")),
            }
        }
    }

    /// Reads the number that [`Self::peek`] has seen.
    pub(super) fn number(&mut self) -> Result<Decimal<'a>> {
        let number = Decimal::at_start_of(&self.text[self.offset..])
            .map_err(|bytes| self.unexpected_after(bytes, "a digit"))?;
        self.offset += number.text().len();
        Ok(number)
    }

    /// Reads the `true`, `false` or `null` that [`Self::peek`] has seen.
    pub(super) fn literal(&mut self, literal: &'static str) -> Result<()> {
        if !self.text[self.offset..].starts_with(literal) {
            return Err(self.unexpected("a value"));
        }
        self.offset += literal.len();
        Ok(())
    }

    /// Reads a value of any kind and depth, without recursion.
    pub(super) fn skip(&mut self) -> Result<()> {
        let mut closers = Vec::new();
        loop {
            match self.peek()? {
                Kind::Object => {
                    self.offset += 1;
                    if !self.take(b'}') {
                        closers.push(b'}');
                        self.name()?;
                        continue;
                    }
                }
                Kind::List => {
                    self.offset += 1;
                    if !self.take(b']') {
                        closers.push(b']');
                        continue;
                    }
                }
                Kind::String => {
                    self.string()?;
                }
                Kind::Number => {
                    self.number()?;
                }
                Kind::True => self.literal("true")?,
                Kind::False => self.literal("false")?,
                Kind::Null => self.literal("null")?,
            }
            loop {
                let Some(&closer) = closers.last() else { return Ok(()) };
                if self.another(closer)? {
                    if closer == b'}' {
                        self.name()?;
                    }
                    break;
                }
                closers.pop();
            }
        }
    }

    /// Nothing may come after the value that was read.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.skip_white_space();
        if self.offset < self.text.len() { Err(self.unexpected("the end of the text")) } else { Ok(()) }
    }

    /// A problem with the value that comes next.
    pub(super) fn fault(&self, problem: Problem) -> Fault {
        Fault::new(self.offset, problem)
    }

    /// The value that comes next is of the wrong kind.
    pub(super) fn wrong_value(&self, expected: &'static str) -> Fault {
        self.fault(Problem::Unexpected { expected, found: self.show_value() })
    }

    /// The value that comes next should be a number of this type.
    pub(super) fn no_number(&self, expected: &'static str) -> Fault {
        self.fault(Problem::NoNumber { expected, found: self.show_value() })
    }

    /// The number that comes next does not fit its type.
    pub(super) fn out_of_range(&self, range: &'static str) -> Fault {
        self.fault(Problem::OutOfRange { range, found: self.show_value() })
    }

    fn show_value(&self) -> String {
        let rest = &self.text[self.offset..];
        match rest.as_bytes().first() {
            Some(b'{') => "an object".to_owned(),
            Some(b'[') => "a list".to_owned(),
            _ => {
                let mut after = self.clone();
                let end = if after.skip().is_ok() { after.offset } else { self.text.len() };
                shorten(&self.text[self.offset..end])
            }
        }
    }

    fn open(&mut self, kind: Kind, expected: &'static str) -> Result<()> {
        if self.peek()? != kind {
            return Err(self.wrong_value(expected));
        }
        if self.depth == MAX_DEPTH {
            return Err(self.fault(Problem::TooDeep));
        }
        self.depth += 1;
        self.offset += 1;
        Ok(())
    }

    /// Reads what follows a value: a comma, or the end of the object or list.
    fn another(&mut self, closer: u8) -> Result<bool> {
        if self.take(b',') {
            return Ok(true);
        }
        if self.take(closer) {
            return Ok(false);
        }
        Err(self.unexpected(if closer == b'}' { "`,` or `}`" } else { "`,` or `]`" }))
    }

    fn name(&mut self) -> Result<Cow<'a, str>> {
        self.skip_white_space();
        if self.next_byte() != Some(b'"') {
            return Err(self.unexpected("a name in quotes"));
        }
        let name = self.string()?;
        if self.take(b':') { Ok(name) } else { Err(self.unexpected("`:`")) }
    }

    fn escape(&mut self) -> Result<char> {
        let character = match self.text.as_bytes().get(self.offset + 1) {
            Some(&same @ (b'"' | b'\\' | b'/')) => char::from(same),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.unexpected_after(1, "one of `\"\\/bfnrtu`")),
        };
        self.offset += 2;
        Ok(character)
    }

    fn unicode_escape(&mut self) -> Result<char> {
        let Some(first) = self.code_unit(self.offset) else {
            return Err(self.unexpected_after(2, "four hex digits"));
        };
        self.offset += 6;
        let units = [first, self.code_unit(self.offset).unwrap_or_default()];
        let character = char::decode_utf16(units).next().and_then(Result::ok);
        if character.is_some_and(|character| character.len_utf16() == 2) {
            self.offset += 6;
        }
        Ok(character.unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The UTF-16 code unit that is escaped there.
    fn code_unit(&self, offset: usize) -> Option<u16> {
        let digits = self.text.get(offset..offset + 6)?.strip_prefix("\\u")?;
        if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            u16::from_str_radix(digits, 16).ok()
        } else {
            None
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_white_space();
        let is_next = self.next_byte() == Some(byte);
        self.offset += usize::from(is_next);
        is_next
    }

    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.next_byte() {
            self.offset += 1;
        }
    }

    fn next_byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    fn unexpected(&self, expected: &'static str) -> Fault {
        self.unexpected_after(0, expected)
    }

    /// What is `bytes` further on is not what it should be.
    fn unexpected_after(&self, bytes: usize, expected: &'static str) -> Fault {
        let offset = self.offset + bytes;
        let found = Quoted(self.text[offset..].chars().next()).to_string();
        Fault::new(offset, Problem::Unexpected { expected, found })
    }
}
