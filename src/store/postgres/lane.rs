//! Questions that come while one is on its way travel together.
//!
//! A lane has one batch under way. Whoever comes meanwhile waits for it and goes with the next one; who comes
//! to an idle lane goes at once. Nothing waits for a clock.

use std::{
    collections::{HashSet, VecDeque},
    future::Future,
    sync::Arc,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

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

    /// Answers a question by itself. `unsure` if it was part of a batch that may have been carried out.
    fn one(
        &self,
        question: &Self::Question,
        unsure: bool,
    ) -> impl Future<Output = Result<Self::Answer, Error>> + Send;

    /// An answer for each question, in their order.
    fn many(
        &self,
        batch: &[Self::Question],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, Failure>> + Send;
}

/// Why a batch has no answers.
pub(super) struct Failure {
    /// Because of a row in it, so that the others succeed without that one.
    pub(super) of_a_row: bool,
    /// It may have been carried out all the same: its first answer was lost.
    pub(super) unsure: bool,
    pub(super) error: Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { of_a_row: false, unsure: false, error }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

struct Job<W: Work> {
    question: W::Question,
    answer: oneshot::Sender<Result<W::Answer, Error>>,
}

/// A lane of the runtime that it was started on.
pub(super) struct Lane<W: Work>(mpsc::Sender<Job<W>>);

impl<W: Work> Lane<W> {
    pub(super) fn start(work: Arc<W>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(drive(work, receiver));
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

async fn drive<W: Work>(work: Arc<W>, mut receiver: mpsc::Receiver<Job<W>>) {
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
        let results = carry_out(&*work, &questions).await;
        for (result, answer) in results.into_iter().zip(answers) {
            let _ = answer.send(result); // whoever asked may have left
        }
    }
}

/// An answer for each question, in their order.
async fn carry_out<W: Work>(work: &W, batch: &[W::Question]) -> Vec<Result<W::Answer, Error>> {
    if let [question] = batch {
        return vec![work.one(question, false).await];
    }
    match work.many(batch).await {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(Failure { of_a_row: true, unsure, .. }) => {
            let mut answers = Vec::with_capacity(batch.len());
            for question in batch {
                answers.push(work.one(question, unsure).await);
            }
            answers
        }
        Err(failure) => batch.iter().map(|_| Err(failure.error.again())).collect(),
    }
}

type Batch<W> = (Vec<<W as Work>::Question>, Vec<oneshot::Sender<Result<<W as Work>::Answer, Error>>>);

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
