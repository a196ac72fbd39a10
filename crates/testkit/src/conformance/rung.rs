//! The rules of a rung, one after the other.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use podwalk_engine::pod::{Pod, Status};
use podwalk_engine::ports::{BoxFuture, Failure, Probe, Rung, StepType};
use podwalk_engine::record::{Output, Record};
use podwalk_engine::step::Step;

use super::walk::{append, descend, stands_below};
use super::{Broken, Intended, Rule};

/// How many polls of an apply are interrupted at most, unless the case says so.
const INTERRUPTIONS: usize = 64;

type Look<'a> = Box<dyn Fn() -> BTreeSet<String> + Send + Sync + 'a>;
type Hook<'a> = Box<dyn Fn() + Send + Sync + 'a>;
type Make<'a> = Box<dyn Fn() -> BoxFuture<'a, ()> + Send + Sync + 'a>;
type IntentOf<S> = <S as StepType>::Intent;
type OutputOf<S> = <S as StepType>::Output;

/// A rung, a pod that stands below its step, and the world around them.
pub struct Case<'a, S: StepType> {
    rung: &'a dyn Rung<Step = S>,
    below: Pod,
    intent: IntentOf<S>,
    look: Look<'a>,
    later: Option<Hook<'a>>,
    parts: Vec<(String, Make<'a>)>,
    leaves_nothing: bool,
    interruptions: usize,
}

/// What was done to a rung that kept every rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// How often it was looked at.
    pub probes: u32,
    /// How often the step was taken.
    pub applies: u32,
    /// How often it was taken down.
    pub undos: u32,
    /// How often taking it was interrupted.
    pub interruptions: u32,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} probes, {} applies ({} of them interrupted), {} undos",
            self.probes, self.applies, self.interruptions, self.undos
        )
    }
}

impl<S: StepType> fmt::Debug for Case<'_, S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut case = out.debug_struct("Case");
        case.field("step", &S::STEP).field("pod", &self.below.id);
        case.finish_non_exhaustive()
    }
}

impl<'a, S: Intended> Case<'a, S> {
    /// `below` has taken every step below this one. `look` names all that the
    /// rung may make or take, one line each; two looks with nothing between them
    /// must agree.
    pub fn new(
        rung: &'a dyn Rung<Step = S>,
        below: Pod,
        look: impl Fn() -> BTreeSet<String> + Send + Sync + 'a,
    ) -> Self {
        Self {
            intent: S::intent_of(rung, &below),
            rung,
            below,
            look: Box::new(look),
            later: None,
            parts: Vec::new(),
            leaves_nothing: false,
            interruptions: INTERRUPTIONS,
        }
    }

    /// The same with an intent that does not follow from the pod alone.
    #[must_use]
    pub fn with_intent(mut self, intent: IntentOf<S>) -> Self {
        self.intent = intent;
        self
    }

    /// The same with `let_go_on`, which lets everything that was started and not
    /// killed come to its end. Only with it can be shown that quieting quiets.
    #[must_use]
    pub fn later(mut self, let_go_on: impl Fn() + Send + Sync + 'a) -> Self {
        self.later = Some(Box::new(let_go_on));
        self
    }

    /// The same with one more part of the effect, which `make` puts where
    /// nothing is: half of a mount, an interface without its address.
    #[must_use]
    pub fn part(
        mut self,
        name: impl Into<String>,
        make: impl Fn() -> BoxFuture<'a, ()> + Send + Sync + 'a,
    ) -> Self {
        self.parts.push((name.into(), Box::new(make)));
        self
    }

    /// The same of a step whose effect cannot be seen by `look`, and needs no
    /// undo: `lo` is up, and goes with its namespace.
    #[must_use]
    pub fn leaves_nothing(mut self) -> Self {
        self.leaves_nothing = true;
        self
    }

    /// The same with another bound for how many polls of an apply it is
    /// interrupted after; 64 unless said so.
    #[must_use]
    pub fn interruptions(mut self, at_most: usize) -> Self {
        self.interruptions = at_most;
        self
    }
}

/// Drives a rung through everything that the engine may ask of it.
///
/// At the end the world is as it was before. Of a step that uses the network up
/// ([`Rung::consumes_network`]) only the first round is driven: the others would
/// need everything below it made anew.
///
/// # Errors
/// The first promise that was not kept. The world is then as the rung has left
/// it.
pub async fn rung<S: Intended>(case: &Case<'_, S>) -> Result<Report, Broken> {
    let mut check = Check::new(case)?;
    check.nothing().await?;
    check.whole("after the first apply", true).await?;
    if case.rung.consumes_network(&check.begun) {
        return Ok(check.report);
    }
    check
        .whole("after an apply whose answer was lost", false)
        .await?;
    check.interrupted().await?;
    check.parts().await?;
    check.nothing().await?;
    Ok(check.report)
}

struct Check<'c, 'a, S: StepType> {
    case: &'c Case<'a, S>,
    /// The pod with the intent recorded, and no more.
    begun: Pod,
    /// What is there when the step has never been taken.
    before: BTreeSet<String>,
    report: Report,
}

impl<'c, 'a, S: Intended> Check<'c, 'a, S> {
    fn new(case: &'c Case<'a, S>) -> Result<Self, Broken> {
        let unfit = |detail: &str| Broken::new(Rule::CaseProves, named::<S>("the case"), detail);
        if !stands_below(&case.below, S::STEP) {
            return Err(unfit("not every step below this one is done"));
        }
        let mut begun = case.below.clone();
        append(&mut begun, Record::Intent(case.intent.clone().into()))?;
        let before = (case.look)();
        if before != (case.look)() {
            return Err(unfit("two looks with nothing between them differ"));
        }
        Ok(Self {
            case,
            begun,
            before,
            report: Report::default(),
        })
    }

    /// Over nothing.
    async fn nothing(&mut self) -> Result<(), Broken> {
        let (rung, begun) = (self.case.rung, self.begun.clone());
        let state = named::<S>("over nothing");
        if rung.deadline(&begun).is_zero() || rung.undo_deadline(&begun).is_zero() {
            return Err(Broken::new(Rule::HasTime, state, "one of them is"));
        }
        let quieted = rung.quiet(&begun).await;
        quieted.map_err(|error| Broken::new(Rule::QuietWorks, &*state, error.to_string()))?;
        let found = self.probe(&begun, &state).await?;
        let is_something = matches!(found, Probe::Complete(_) | Probe::Partial);
        if is_something && !self.case.leaves_nothing {
            return Err(Broken::new(
                Rule::NothingIsAbsent,
                state,
                format!("{found:?}"),
            ));
        }
        self.take_down(&begun, &state, [Rule::UndoOfNothing; 2])
            .await
    }

    /// Over the whole effect, whose answer is recorded or lost.
    async fn whole(&mut self, state: &str, recorded: bool) -> Result<(), Broken> {
        let state = named::<S>(state);
        let output = self.apply(&state).await?;
        let there = (self.case.look)();
        if there == self.before && !self.case.leaves_nothing {
            return Err(Broken::new(
                Rule::CaseProves,
                state,
                "the step was taken, and the look sees no difference",
            ));
        }
        let mut done = self.begun.clone();
        append(&mut done, Record::Done(output.clone().into()))?;
        for pod in [&self.begun.clone(), &done] {
            let found = self.probe(pod, &state).await?;
            self.is_whole(pod, found, &output, &state).await?;
            self.same(&there, Rule::WholeIsComplete, &state)?;
        }
        let known = if recorded { done } else { self.begun.clone() };
        self.take_down(&known, &state, [Rule::UndoWorks, Rule::UndoTwice])
            .await
    }

    async fn is_whole(
        &mut self,
        pod: &Pod,
        found: Probe<Output>,
        answered: &OutputOf<S>,
        state: &str,
    ) -> Result<(), Broken> {
        let answered: Output = answered.clone().into();
        let is_done = pod.status(S::STEP) == Status::Done;
        match found {
            Probe::Unknown => Ok(()),
            Probe::Complete(output) if output == answered => Ok(()),
            // What is recorded as started and not found has exited.
            Probe::Absent if !(is_done && S::STEP == Step::Start) => {
                let again: Output = self.apply(state).await?.into();
                match again == answered {
                    true => Ok(()),
                    false => Err(Broken::new(
                        Rule::WholeIsComplete,
                        state,
                        format!(
                            "called absent; taken again it answers {again:?}, not {answered:?}"
                        ),
                    )),
                }
            }
            other => Err(Broken::new(
                Rule::WholeIsComplete,
                state,
                format!("it was answered {answered:?} and is found {other:?}"),
            )),
        }
    }

    /// Over what is left of an apply that nobody waits for any more: after each
    /// of its polls.
    async fn interrupted(&mut self) -> Result<(), Broken> {
        for polls in 0..self.case.interruptions {
            let state = named::<S>(format!("interrupted after {polls} polls"));
            let begun = self.begun.clone();
            self.report.applies += 1;
            let apply = Interrupted {
                future: self.case.rung.apply(&begun, &self.case.intent),
                polls,
            };
            match apply.await {
                Some(Ok(_)) => {
                    return self.take_down(&begun, &state, UNDONE).await;
                }
                Some(Err(failure)) => return Err(not_applied(&state, &failure)),
                None => self.report.interruptions += 1,
            }
            self.quiet(&state).await?;
            self.left_over(&state, None).await?;
        }
        Ok(())
    }

    /// Over the parts of the effect that the embedder makes.
    async fn parts(&mut self) -> Result<(), Broken> {
        for (name, make) in &self.case.parts {
            let state = named::<S>(format!("over {name}"));
            make().await;
            if (self.case.look)() == self.before {
                return Err(Broken::new(Rule::CaseProves, state, "nothing was made"));
            }
            self.quiet(&state).await?;
            self.left_over(&state, Some(Rule::PartIsNotWhole)).await?;
        }
        Ok(())
    }

    /// What nobody knows the extent of, done with as the engine would.
    async fn left_over(&mut self, state: &str, not_whole: Option<Rule>) -> Result<(), Broken> {
        let mut pod = self.begun.clone();
        match self.probe(&pod, state).await? {
            Probe::Complete(output) => {
                if let Some(rule) = not_whole {
                    return Err(Broken::new(rule, state, format!("found as {output:?}")));
                }
                append(&mut pod, Record::Done(output))?;
            }
            Probe::Absent => {
                let output = self.apply(state).await?;
                append(&mut pod, Record::Done(output.into()))?;
            }
            Probe::Partial | Probe::Unknown => {}
        }
        self.take_down(&pod, state, UNDONE).await
    }

    async fn quiet(&self, state: &str) -> Result<(), Broken> {
        let quieted = self.case.rung.quiet(&self.begun).await;
        quieted.map_err(|error| Broken::new(Rule::QuietWorks, state, error.to_string()))?;
        let Some(later) = &self.case.later else {
            return Ok(());
        };
        let there = (self.case.look)();
        later();
        self.same(&there, Rule::QuietEndsAll, state)
    }

    async fn probe(&mut self, pod: &Pod, state: &str) -> Result<Probe<Output>, Broken> {
        self.report.probes += 1;
        let there = (self.case.look)();
        let found = self.case.rung.probe(pod, &self.case.intent).await;
        self.same(&there, Rule::LookTouchesNothing, state)?;
        Ok(found.map(Into::into))
    }

    async fn apply(&mut self, state: &str) -> Result<OutputOf<S>, Broken> {
        self.report.applies += 1;
        let applied = self.case.rung.apply(&self.begun, &self.case.intent).await;
        applied.map_err(|failure| not_applied(state, &failure))
    }

    /// Undoes what `pod` may have of the step, twice; `rules` say what a
    /// failure of the first and of the second breaks.
    async fn take_down(&mut self, pod: &Pod, state: &str, rules: [Rule; 2]) -> Result<(), Broken> {
        let [first, second] = rules;
        for rule in rules {
            self.report.undos += 1;
            let descended = descend(self.case.rung, pod, state).await;
            descended.map_err(|broken| match broken.rule {
                Rule::UndoWorks => Broken { rule, ..broken },
                _ => broken,
            })?;
            let left = match (rule == first, first) {
                (true, Rule::UndoWorks) => Rule::UndoLeavesNothing,
                (true, _) => first,
                (false, _) => second,
            };
            self.same(&self.before, left, state)?;
            if let Some(later) = &self.case.later {
                later();
                self.same(&self.before, Rule::QuietEndsAll, state)?;
            }
        }
        Ok(())
    }

    /// The world is as it was.
    fn same(&self, was: &BTreeSet<String>, rule: Rule, state: &str) -> Result<(), Broken> {
        let is = (self.case.look)();
        if is == *was {
            return Ok(());
        }
        let more = is.difference(was).map(|line| format!("+ {line}"));
        let less = was.difference(&is).map(|line| format!("- {line}"));
        let lines: Vec<String> = more.chain(less).collect();
        Err(Broken::new(rule, state, lines.join("\n")))
    }
}

const UNDONE: [Rule; 2] = [Rule::UndoWorks, Rule::UndoTwice];

fn named<S: StepType>(state: impl fmt::Display) -> String {
    format!("{}, {state}", S::STEP)
}

fn not_applied(state: &str, failure: &Failure) -> Broken {
    Broken::new(Rule::ApplyWorks, state, failure.error.to_string())
}

/// A future that is dropped after so many polls; none is its answer then.
struct Interrupted<F> {
    future: F,
    polls: usize,
}

impl<F: Future + Unpin> Future for Interrupted<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        match Pin::new(&mut self.future).poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if self.polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}
