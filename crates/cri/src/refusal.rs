//! Errors as gRPC says them.

use podwalk_engine::engine::{EngineError, EngineErrorKind};
use tonic::{Code, Status};

use crate::config::ConfigError;

/// The most of a message, bytes as they are sent: in a header, where all but letters, digits and a
/// few signs are written `%20`. Clients take 8 KiB of headers.
pub const MOST_WORDS: usize = 6144;

/// A refusal whose message is one line and no longer than [`MOST_WORDS`].
pub(crate) fn refuse(code: Code, message: impl AsRef<str>) -> Status {
    refuse_and(code, message, "")
}

/// The same, with words at its end that are there however long it is.
fn refuse_and(code: Code, message: impl AsRef<str>, further: &str) -> Status {
    let room = MOST_WORDS - sent(further) - '…'.len_utf8() * 3;
    let (mut line, mut length) = (String::new(), 0);
    for letter in message.as_ref().chars() {
        let letter = if letter.is_control() { ' ' } else { letter };
        length += sent(letter.encode_utf8(&mut [0; 4]));
        if length > room {
            line.push('…');
            break;
        }
        line.push(letter);
    }
    Status::new(code, line + further)
}

/// How long a text is in a header.
fn sent(text: &str) -> usize {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,:;/()'=".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { 1 } else { 3 })
        .sum()
}

/// What a caller may show of a text that he was given.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

pub(crate) fn of_config(error: &ConfigError) -> Status {
    refuse(Code::InvalidArgument, error.to_string())
}

pub(crate) fn of_engine(error: &EngineError) -> Status {
    // The engine has no command line; what leads on is told here.
    let further = match error.names_debt() {
        true => "; see: podwalk debts",
        false => "",
    };
    refuse_and(code(error), error.to_string(), further)
}

fn code(error: &EngineError) -> Code {
    match error {
        EngineError::AlreadyExists { .. } => Code::AlreadyExists,
        // The same request again is a new one.
        EngineError::Stopped { .. } => Code::Aborted,
        EngineError::Journal(_) if error.kind() != EngineErrorKind::Invalid => Code::Unavailable,
        _ => match error.kind() {
            EngineErrorKind::NotFound => Code::NotFound,
            EngineErrorKind::Invalid => Code::InvalidArgument,
            EngineErrorKind::Conflict | EngineErrorKind::Environment => Code::FailedPrecondition,
            EngineErrorKind::Retry => Code::Unavailable,
            EngineErrorKind::Timeout => Code::DeadlineExceeded,
            EngineErrorKind::Failed => Code::Internal,
        },
    }
}

#[cfg(test)]
mod tests {
    use podwalk_engine::error::{ErrorKind, StepError};
    use podwalk_engine::id::{InstanceId, PodId};
    use podwalk_engine::spec::PodKey;
    use podwalk_engine::step::Step;

    use super::*;

    #[test]
    fn a_message_is_one_line_that_fits_into_a_header() {
        for long in ["ä".repeat(9000), " ".repeat(9000), "x".repeat(9000)] {
            let status = refuse_and(Code::Internal, format!("a\nb\0c{long}"), "; see: there");
            let message = status.message();
            assert!(message.starts_with("a b c") && message.ends_with("…; see: there"));
            assert!(sent(message) <= MOST_WORDS, "{}", sent(message));
            assert!(
                sent(message) > MOST_WORDS - 20,
                "no shorter than it must be"
            );
        }
        assert_eq!(refuse(Code::Internal, "short").message(), "short");
    }

    #[test]
    fn an_error_has_the_code_that_tells_a_client_what_to_do() {
        let id = PodId::new([1; 12], InstanceId([2; 4]));
        let key = PodKey {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            uid: String::new(),
        };
        let failed = |kind| EngineError::StartFailed {
            id,
            step: Step::Start,
            error: StepError::new(kind, "no"),
            afterwards: Vec::new(),
        };
        let cases = [
            (EngineError::AlreadyExists { key, id }, Code::AlreadyExists),
            (EngineError::Stopped { id }, Code::Aborted),
            (EngineError::NoSuchPod { id }, Code::NotFound),
            (EngineError::Closing, Code::Unavailable),
            (failed(ErrorKind::Invalid), Code::InvalidArgument),
            (failed(ErrorKind::Environment), Code::FailedPrecondition),
            (failed(ErrorKind::Conflict), Code::FailedPrecondition),
            (failed(ErrorKind::Timeout), Code::DeadlineExceeded),
            (failed(ErrorKind::Retry), Code::Unavailable),
            (failed(ErrorKind::Failed), Code::Internal),
        ];
        for (error, code) in cases {
            assert_eq!(of_engine(&error).code(), code, "{error}");
        }
        let owes = EngineError::Owes {
            id,
            debts: Vec::new(),
        };
        let status = of_engine(&owes);
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("podwalk debts"), "{status:?}");
    }
}
