//! [`Key`]: what rows have in common that go into one message.

/// Values of some columns, in a form in which only equal ones are equal. Reused, so that a row costs no allocation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The bytes of its texts, and a few more for each.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn text(&mut self, text: Option<&str>) {
        self.number(text.map(str::len));
        self.0.extend_from_slice(text.unwrap_or_default().as_bytes());
    }

    pub(super) fn number(&mut self, number: Option<impl TryInto<u64>>) {
        let number = number.and_then(|number| number.try_into().ok());
        self.0.push(u8::from(number.is_some()));
        self.0.extend_from_slice(&number.unwrap_or_default().to_le_bytes());
    }
}
