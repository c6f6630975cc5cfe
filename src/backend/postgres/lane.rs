//! Questions that come while one is on its way travel together.
//!
//! A lane has one batch under way. Whoever comes meanwhile waits for it and goes with the next one; who comes
//! to an idle lane goes at once. Nothing waits for a clock. What would have to wait for somebody else goes by itself, beside the
//! lane.

use std::{
    collections::{HashSet, VecDeque},
    future::Future,
    sync::Arc,
    time::Duration,
};

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{Error, SessionKey};

/// Questions in a batch at most.
const ROWS: usize = 128;

/// Bytes in a batch; one question alone may have more.
const BYTES: usize = 1 << 20;

/// Questions that may wait. More would wait in vain.
const WAITING: usize = 16 * 1024;

/// What a lane's batches are made of and who carries them out.
pub(super) trait Work: Send + Sync + 'static {
    type Question: Send + Sync + 'static;
    type Answer: Send + 'static;

    /// What must be in a batch only once; nothing if it does not matter.
    fn name(_: &Self::Question) -> Option<&SessionKey> {
        None
    }

    fn bytes(_: &Self::Question) -> usize {
        0
    }

    /// Answers a question by itself.
    fn one(
        &self,
        question: &Self::Question,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Self::Answer, Failure>> + Send;

    /// An answer for each question, in their order; none for one that is to be asked by itself.
    fn many(
        &self,
        batch: &[Self::Question],
    ) -> impl Future<Output = Result<Vec<Option<Self::Answer>>, Failure>> + Send;
}

/// How a question is asked by itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Attempt {
    /// It was part of a batch that may have been carried out.
    pub(super) unsure: bool,
    /// It may wait for a row that somebody holds.
    pub(super) patient: bool,
}

/// Why a batch has no answers.
pub(super) struct Failure {
    /// Because of a row in it, so that the others succeed without that one.
    pub(super) of_a_row: bool,
    /// Because somebody holds a row.
    pub(super) locked: bool,
    /// It may have been carried out all the same: its first answer was lost.
    pub(super) unsure: bool,
    pub(super) error: Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { of_a_row: false, locked: false, unsure: false, error }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

struct Job<W: Work> {
    question: W::Question,
    answer: Answer<W>,
}

/// A lane of the runtime that it was started on.
pub(super) struct Lane<W: Work>(mpsc::Sender<Job<W>>);

impl<W: Work> Lane<W> {
    /// As many questions as `apart` has permits may be asked by themselves at once.
    pub(super) fn start(work: W, apart: Arc<Semaphore>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(drive(Arc::new(work), apart, receiver));
        Self(sender)
    }

    /// Whether its runtime still is.
    pub(super) fn is_running(&self) -> bool {
        !self.0.is_closed()
    }

    /// Waits for the answer, but not longer than the deadline. A question that is given up before it is on its
    /// way is never sent.
    pub(super) async fn ask(
        &self,
        what: &'static str,
        question: W::Question,
        deadline: Duration,
    ) -> Result<W::Answer, Error> {
        let (answer, answered) = oneshot::channel();
        if self.0.try_send(Job { question, answer }).is_err() {
            return Err(Error::store(format!("cannot {what}: too many wait for the database already")));
        }
        match tokio::time::timeout(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::store(format!("cannot {what}: the worker that does it has stopped"))),
            Err(_) => {
                Err(Error::store(format!("cannot {what}: the database did not answer within {deadline:?}")))
            }
        }
    }
}

async fn drive<W: Work>(work: Arc<W>, apart: Arc<Semaphore>, mut receiver: mpsc::Receiver<Job<W>>) {
    let mut waiting: VecDeque<Job<W>> = VecDeque::new();
    let mut arrived: Vec<Job<W>> = Vec::new();
    loop {
        if waiting.is_empty() && receiver.recv_many(&mut arrived, ROWS).await == 0 {
            return; // nobody can ask any more
        }
        while arrived.len() + waiting.len() < 2 * ROWS
            && let Ok(job) = receiver.try_recv()
        {
            arrived.push(job);
        }
        waiting.extend(arrived.drain(..));
        let (questions, answers) = batch(&mut waiting);
        if questions.is_empty() {
            continue;
        }
        carry_out(&work, &apart, questions, answers).await;
    }
}

/// Answers all of a batch, but for what is to be asked by itself.
async fn carry_out<W: Work>(
    work: &Arc<W>,
    apart: &Arc<Semaphore>,
    questions: Vec<W::Question>,
    answers: Vec<Answer<W>>,
) {
    let result = match &questions[..] {
        [question] => work.one(question, Attempt::default()).await.map(|answer| vec![Some(answer)]),
        all => work.many(all).await,
    };
    let (results, unsure) = match result {
        Ok(results) => (results, false),
        Err(Failure { of_a_row, locked, unsure, .. }) if locked || (of_a_row && questions.len() > 1) => {
            (questions.iter().map(|_| None).collect(), unsure)
        }
        Err(failure) => {
            for answer in answers {
                let _ = answer.send(Err(failure.error.again()));
            }
            return;
        }
    };
    for ((question, answer), result) in questions.into_iter().zip(answers).zip(results) {
        match result {
            Some(result) => drop(answer.send(Ok(result))), // whoever asked may have left
            // It may have to wait, and the others do not.
            None => {
                drop(tokio::spawn(ask_apart(work.clone(), apart.clone(), question, answer, unsure)));
            }
        }
    }
}

/// Answers one that must not keep up the lane.
async fn ask_apart<W: Work>(
    work: Arc<W>,
    apart: Arc<Semaphore>,
    question: W::Question,
    answer: Answer<W>,
    unsure: bool,
) {
    let Ok(_turn) = apart.acquire().await else { return };
    if !answer.is_closed() {
        let result = work.one(&question, Attempt { unsure, patient: true }).await;
        let _ = answer.send(result.map_err(Error::from));
    }
}

type Answer<W> = oneshot::Sender<Result<<W as Work>::Answer, Error>>;

type Batch<W> = (Vec<<W as Work>::Question>, Vec<Answer<W>>);

/// Takes what goes together, in the order in which it came.
fn batch<W: Work>(waiting: &mut VecDeque<Job<W>>) -> Batch<W> {
    let (mut questions, mut answers) = (Vec::new(), Vec::new());
    let mut left = VecDeque::new();
    let (mut names, mut bytes) = (HashSet::new(), 0);
    while let Some(job) = waiting.pop_front() {
        if job.answer.is_closed() {
            continue;
        }
        let size = W::bytes(&job.question);
        if questions.len() == ROWS || (bytes + size > BYTES && !questions.is_empty()) {
            left.push_back(job);
            break;
        }
        if W::name(&job.question).is_some_and(|name| !names.insert(name.clone())) {
            left.push_back(job);
            continue;
        }
        bytes += size;
        questions.push(job.question);
        answers.push(job.answer);
    }
    while let Some(job) = left.pop_back() {
        waiting.push_front(job);
    }
    (questions, answers)
}
