//! Patterns of names, as the metadata commands take them.

/// `LIKE` with `%`, `_` and `\` as escape. No pattern matches everything.
pub(crate) fn matches(pattern: Option<&str>, text: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    let mut tokens = Vec::new();
    // Characters that the text must still have: a pattern that asks for more is not read to its end.
    let mut room = text.chars().count();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let token = match character {
            '%' if matches!(tokens.last(), Some(Like::Any)) => continue,
            '%' => Like::Any,
            '_' => Like::One,
            '\\' => Like::Exactly(characters.next().unwrap_or('\\')),
            other => Like::Exactly(other),
        };
        if !matches!(token, Like::Any) {
            let Some(less) = room.checked_sub(1) else { return false };
            room = less;
        }
        tokens.push(token);
    }
    // `reached[i]` says whether the first i tokens match the text so far.
    let mut reached = vec![false; tokens.len() + 1];
    reached[0] = true;
    skip_any(&tokens, &mut reached);
    for character in text.chars() {
        let mut next = vec![false; tokens.len() + 1];
        for (i, token) in tokens.iter().enumerate() {
            match token {
                Like::Any => next[i] |= reached[i],
                Like::One => next[i + 1] |= reached[i],
                Like::Exactly(wanted) => next[i + 1] |= reached[i] && *wanted == character,
            }
        }
        skip_any(&tokens, &mut next);
        reached = next;
    }
    reached[tokens.len()]
}

enum Like {
    Any,
    One,
    Exactly(char),
}

/// A `%` also stands for nothing.
fn skip_any(tokens: &[Like], reached: &mut [bool]) {
    for (i, token) in tokens.iter().enumerate() {
        if matches!(token, Like::Any) && reached[i] {
            reached[i + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests;
