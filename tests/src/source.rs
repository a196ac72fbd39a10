//! A look at Rust source that is good enough for house rules: what is code, where functions are.

/// A function with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, from one.
    pub line: usize,
    /// Its lines from `fn` to its closing brace.
    pub length: usize,
}

/// The source with all comments and literals blanked out. Lines and columns stay what they were.
#[must_use]
pub fn code_of(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = String::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = at + literal_or_comment(&bytes[at..], last_is_word(&code));
        if end == at {
            code.push(char::from(bytes[at]));
            at += 1;
        } else {
            let blank = |byte: &u8| if *byte == b'\n' { '\n' } else { ' ' };
            code.extend(bytes[at..end].iter().map(blank));
            at = end;
        }
    }
    code
}

/// Whether `line` holds `word`, and not only a longer word around it.
#[must_use]
pub fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// How many lines of the source hold code.
#[must_use]
pub fn code_lines(source: &str) -> usize {
    // A literal's lines are code, so only comments may be blanked here.
    let code = code_of(source);
    let lines = source.lines().zip(code.lines());
    lines
        .filter(|(text, code)| {
            let text = text.trim_start();
            !code.trim().is_empty() || !(text.is_empty() || text.starts_with("//"))
        })
        .count()
}

/// The functions with a body in code that [`code_of`] gave.
#[must_use]
pub fn functions_of(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let rest = &code[at + 3..];
        let name: String = rest
            .trim_start()
            .chars()
            .take_while(|c| is_word(*c))
            .collect();
        if let (false, Some(end)) = (name.is_empty(), end_of_body(rest)) {
            found.push(Function {
                name,
                line: 1 + newlines(&code[..at]),
                length: 1 + newlines(&rest[..end]),
            });
        }
    }
    found
}

/// Where the body after a function's name ends; `None` if there is no body.
fn end_of_body(rest: &str) -> Option<usize> {
    let mut depth = 0_usize;
    // An array's length in a signature holds a `;` that ends nothing.
    let mut brackets = 0_usize;
    for (at, letter) in rest.char_indices() {
        match letter {
            '[' | '(' => brackets += 1,
            ']' | ')' => brackets = brackets.saturating_sub(1),
            ';' if depth == 0 && brackets == 0 => return None,
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

fn newlines(text: &str) -> usize {
    text.matches('\n').count()
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn last_is_word(code: &str) -> bool {
    code.chars().next_back().is_some_and(is_word)
}

/// The length of the comment or literal that `rest` begins with; 0 if it begins with none. A prefix
/// of a literal is one only where no word ends before it.
fn literal_or_comment(rest: &[u8], after_word: bool) -> usize {
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest, 1),
        [b'b' | b'c', b'"', ..] if !after_word => quoted(rest, 2),
        [b'r', b'"' | b'#', ..] if !after_word => raw(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !after_word => raw(rest, 2),
        [b'\'', ..] => character(rest),
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A raw literal, or nothing: `r#name` is a word.
fn raw(rest: &[u8], start: usize) -> usize {
    let hashes = rest[start..].iter().take_while(|b| **b == b'#').count();
    let open = start + hashes;
    if rest.get(open) != Some(&b'"') {
        return 0;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let body = &rest[open + 1..];
    let end = body.windows(close.len()).position(|window| window == close);
    end.map_or(rest.len(), |end| open + 1 + end + close.len())
}

/// A character, or nothing: `'a` is a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let end = rest.iter().skip(3).position(|b| *b == b'\'');
        return end.map_or(rest.len(), |end| end + 4);
    }
    // One character of up to four bytes, and the closing quote.
    let end = rest.iter().skip(2).take(4).position(|b| *b == b'\'');
    match end {
        Some(end) if is_one_character(&rest[1..end + 2]) => end + 3,
        _ => 0,
    }
}

fn is_one_character(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().count() == 1)
}

#[cfg(test)]
mod tests;
