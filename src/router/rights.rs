//! A client's rights as its connection holds them: looked at anew as soon as its session was judged again.

use super::handle::SessionHandle;
use super::recent::Recent;
use crate::identity::Subject;
use crate::mqtt::{QoS, Subscription, TopicName};
use crate::policy::{Compiled, Denial, PublishPermit, SubscribePermit};
use std::sync::Arc;

/// Whoever asks sees the last judgement, whether or not the connection has been told of it: when a reload has returned, not one more message passes by the verdicts
/// of before (POL-6).
pub struct Rights {
    compiled: Arc<Compiled>,
    /// How often the session had been judged when they were looked at.
    judged: u64,
    /// Verdicts on recent topics, for as long as the rights stand.
    recent: Recent<Arc<PublishPermit>>,
}

/// A permit, and when it was given.
pub enum Judged {
    Before(Arc<PublishPermit>),
    Now(PublishPermit),
}

impl std::ops::Deref for Judged {
    type Target = PublishPermit;

    fn deref(&self) -> &PublishPermit {
        match self {
            Self::Before(permit) => permit,
            Self::Now(permit) => permit,
        }
    }
}

impl Rights {
    /// Those of the session, which may be newer than those its client was admitted with.
    pub fn of(handle: &SessionHandle) -> Self {
        // The count first: what changes in between is looked at again.
        let judged = handle.judged();
        Self {
            compiled: Arc::clone(&handle.rights()),
            judged,
            recent: Recent::default(),
        }
    }

    pub fn renew(&mut self, handle: &SessionHandle) {
        if handle.judged() != self.judged {
            *self = Self::of(handle);
        }
    }

    pub fn subject(&self) -> &Arc<Subject> {
        self.compiled.subject()
    }

    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// The topic whose name these bytes are, if it is one of the last: a name that was checked before.
    pub fn expected_topic(&mut self, name: &[u8]) -> Option<TopicName> {
        self.recent.expected(name).cloned()
    }

    /// The verdict on a recent topic costs a look-up; it carries identity, topic, QoS and retain.
    pub fn permit_publish(
        &mut self,
        handle: &SessionHandle,
        topic: &TopicName,
        qos: QoS,
        retain: bool,
    ) -> Result<Judged, Denial> {
        self.renew(handle);
        if let Some(permit) = self.recent.find(topic)
            && permit.qos() == qos
            && permit.retain() == retain
        {
            return Ok(Judged::Before(Arc::clone(permit)));
        }
        let permit = self.compiled.permit_publish(topic.clone(), qos, retain)?;
        self.recent
            .remember(topic, || Arc::new(permit.clone().with_detached_topic()));
        Ok(Judged::Now(permit))
    }

    pub fn permit_subscribe(
        &mut self,
        handle: &SessionHandle,
        subscription: &Subscription,
        qos: QoS,
    ) -> Result<SubscribePermit, Denial> {
        self.renew(handle);
        self.compiled.permit_subscribe(subscription, qos)
    }
}
