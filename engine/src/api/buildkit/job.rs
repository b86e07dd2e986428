//! Builds that clients have begun: what each was asked for by its front end, and what has happened in it, for those who look on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::message::{BridgeRequest, StatusResponse};
use super::status::{EXHAUSTED, EXISTS, NOT_FOUND, Status};
use prost::Message;

/// How long somebody waits for a build that is about to begin.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a build that has ended can be looked at.
const MEMORY: Duration = Duration::from_secs(30);

/// The most bytes of what has happened in a build that nobody has fetched.
const NEWS_MAX: usize = 8 << 20;

/// How long a build waits for somebody who does not read.
const SLOWNESS: Duration = Duration::from_secs(10);

/// The most builds at once, and questions of a front end in one.
const JOBS_MAX: usize = 1024;
const QUESTIONS_MAX: usize = 256;

/// A build.
#[derive(Debug, Default)]
pub struct Job {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What the client's front end has asked for, by the names that it was given for that.
    questions: BTreeMap<String, BridgeRequest>,
    /// Which of them it has settled on: none, if nothing is to be built.
    returned: Option<Result<Option<String>, Status>>,
    news: VecDeque<StatusResponse>,
    size: usize,
    is_clipped: bool,
    /// How many look on.
    readers: usize,
    ended: Option<Instant>,
    /// Another build goes on from it.
    is_needed: bool,
    /// The image that has come of it.
    image: Option<String>,
}

/// What somebody who looks on hears.
#[derive(Debug)]
pub enum News {
    /// Something has happened.
    Status(StatusResponse),
    /// Nothing yet.
    Nothing,
    /// Nothing more will.
    End,
}

impl Job {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a front end asks for; the name of what will come of it.
    ///
    /// # Errors
    /// It has asked too often.
    pub fn ask(&self, question: BridgeRequest) -> Result<String, Status> {
        let mut state = self.state();
        if state.questions.len() >= QUESTIONS_MAX {
            return Err(Status::new(EXHAUSTED, format!("a build asks for {QUESTIONS_MAX} results at most")));
        }
        let name = format!("{}", state.questions.len() + 1);
        state.questions.insert(name.clone(), question);
        Ok(name)
    }

    /// The front end has settled.
    pub fn settle(&self, returned: Result<Option<String>, Status>) {
        self.state().returned.get_or_insert(returned);
        self.changed.notify_all();
    }

    /// What the front end has settled on, if it has by then: a question, or that nothing is to be built.
    ///
    /// # Errors
    /// What it says.
    pub fn settled(&self, time: Duration) -> Result<Option<Option<BridgeRequest>>, Status> {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), time, |state| state.returned.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        match &state.returned {
            None => Ok(None),
            Some(Err(status)) => Err(status.clone()),
            Some(Ok(None)) => Ok(Some(None)),
            Some(Ok(Some(name))) => {
                let missing =
                    || Status::new(NOT_FOUND, format!("result {name}: this build has none of that name"));
                state.questions.get(name).cloned().map(|question| Some(Some(question))).ok_or_else(missing)
            }
        }
    }

    /// Something has happened. Whoever tells more than those who look on can take waits for them a while.
    pub fn tell(&self, news: StatusResponse) {
        let is_full = |state: &mut State| state.size > NEWS_MAX && state.readers > 0;
        let waited = self.changed.wait_timeout_while(self.state(), SLOWNESS, is_full);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.size += news.encoded_len();
        state.news.push_back(news);
        // Of what nobody fetches, what programs have written is forgotten first.
        let mut index = 0;
        while state.size > NEWS_MAX && index < state.news.len() {
            if state.news[index].logs.is_empty() {
                index += 1;
            } else if let Some(news) = state.news.remove(index) {
                state.size -= news.encoded_len();
                state.is_clipped = true;
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// What has happened next, if anything has by then.
    pub fn next(&self, time: Duration) -> News {
        let (mut state, _) = self
            .changed
            .wait_timeout_while(self.state(), time, |state| state.news.is_empty() && state.ended.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        match state.news.pop_front() {
            Some(mut news) => {
                state.size -= news.encoded_len();
                self.changed.notify_all();
                if let (true, Some(log)) = (state.is_clipped, news.logs.first_mut()) {
                    log.bytes.splice(0..0, *b"[output clipped: it was not read in time]\n");
                    state.is_clipped = false;
                }
                News::Status(news)
            }
            None if state.ended.is_some() => News::End,
            None => News::Nothing,
        }
    }

    /// Somebody looks on, until the result goes.
    pub fn watch(&self) -> Watch<'_> {
        self.state().readers += 1;
        Watch(self)
    }

    /// Whether those who look on have been told everything by then. Clients do not wait long for news of a build that has ended.
    pub fn is_told(&self, time: Duration) -> bool {
        let is_behind = |state: &mut State| !state.news.is_empty() && state.readers > 0;
        let waited = self.changed.wait_timeout_while(self.state(), time, is_behind);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Nothing more will happen; an image may have come of it.
    pub fn end(&self, image: Option<String>) {
        let mut state = self.state();
        (state.ended, state.image) = (Some(Instant::now()), image);
        drop(state);
        self.changed.notify_all();
    }

    /// Another build goes on from its image. Clients settle a build after those that need it have been asked for.
    pub fn need_image(&self) {
        self.state().is_needed = true;
    }

    /// Whether another build goes on from its image.
    pub fn is_needed(&self) -> bool {
        self.state().is_needed
    }

    /// The image that has come of it, if it has ended by then.
    pub fn image(&self, time: Duration) -> Option<Option<String>> {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), time, |state| state.ended.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.ended.map(|_| state.image.clone())
    }
}

/// Somebody who looks on.
pub struct Watch<'j>(&'j Job);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.state().readers -= 1;
        self.0.changed.notify_all();
    }
}

/// The builds that there are, and those that have ended a moment ago.
#[derive(Debug, Default)]
pub struct Jobs {
    known: Mutex<BTreeMap<String, Arc<Job>>>,
    changed: Condvar,
}

impl Jobs {
    /// Begins a build.
    ///
    /// # Errors
    /// There is one of that name, or there are too many.
    pub fn begin(&self, name: &str) -> Result<Arc<Job>, Status> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, job| job.state().ended.is_none_or(|ended| ended.elapsed() < MEMORY));
        if known.contains_key(name) {
            return Err(Status::new(EXISTS, format!("build {name}: there is one of that name")));
        }
        if known.len() >= JOBS_MAX {
            return Err(Status::new(EXHAUSTED, format!("{JOBS_MAX} builds are running: try again later")));
        }
        let job = Arc::new(Job::default());
        known.insert(name.to_string(), job.clone());
        self.changed.notify_all();
        Ok(job)
    }

    /// A build, which may be about to begin.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str) -> Result<Arc<Job>, Status> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, _) = self
            .changed
            .wait_timeout_while(known, PATIENCE, |known| !known.contains_key(name))
            .unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned().ok_or_else(|| Status::new(NOT_FOUND, format!("no such job {name}")))
    }
}
