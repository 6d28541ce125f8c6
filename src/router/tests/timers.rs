//! Expiry, will delay, take-over and return in any order, against a model that knows nothing of timers (SES-5).

use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];
const STEPS: usize = 24;

/// A session as the specification tells of it, at most one for each client identifier.
struct Model {
    attached: bool,
    /// What the connection said at CONNECT.
    expiry: u32,
    declared: Option<(u32, String)>,
    /// Of a session whose connection is gone, in seconds since the start.
    expires_at: Option<u64>,
    will: Option<(u64, String)>,
}

/// Small numbers in an order that the seed alone decides (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn interval(&mut self) -> u32 {
        [0, 1, 2, 3, 5, 9, u32::MAX][usize::try_from(self.below(7)).unwrap()]
    }
}

struct World {
    router: Router,
    begin: Instant,
    now: u64,
    reader: Arc<SessionHandle>,
    rights: [Arc<Compiled>; 3],
    handles: [Option<Arc<SessionHandle>>; 3],
    models: [Option<Model>; 3],
    wills: u32,
    /// Wills that must be sent in this step.
    expected: Vec<String>,
}

impl World {
    fn new(policies: &Arc<Policies>) -> Self {
        let limits = Arc::new(Limits::new(LimitsConfig::default(), [1; 4], Instant::now()));
        let mut store = Paper::default();
        store.forgetful = true;
        let store = Arc::new(store);
        let router = Router::new(Arc::clone(policies), MqttConfig::default(), store, limits);
        let reader = open(&router, "reader", 0);
        subscribe(&router, &reader, "will", QoS::AtMostOnce, 1);
        Self {
            rights: NAMES.map(|name| router.rights(&subject("password", name))),
            router,
            begin: Instant::now(),
            now: 0,
            reader,
            handles: [None, None, None],
            models: [None, None, None],
            wills: 0,
            expected: Vec::new(),
        }
    }

    fn instant(&self) -> Instant {
        self.begin + Duration::from_secs(self.now)
    }

    fn step(&mut self, dice: &mut Dice) {
        let who = usize::try_from(dice.below(3)).unwrap();
        match dice.below(4) {
            0 => self.advance(dice.below(6)),
            1 => self.lose(who, dice.below(3) == 0),
            _ => self.connect(who, dice),
        }
    }

    fn connect(&mut self, who: usize, dice: &mut Dice) {
        // The connection that is there goes first, as one that was lost.
        self.lose(who, false);
        let (clean, expiry) = (dice.below(3) == 0, dice.interval());
        let declared = (dice.below(3) > 0).then(|| {
            self.wills += 1;
            (dice.interval(), self.wills.to_string())
        });
        let known = self.models[who].take();
        if clean && let Some(model) = &known {
            // The old session ends here, and so does the wait of its will.
            self.expected
                .extend(model.will.clone().map(|(_, will)| will));
        }
        let resumed = known.is_some() && !clean;
        self.models[who] = Some(Model {
            attached: true,
            expiry,
            declared,
            expires_at: None,
            will: None,
        });
        let claim = self
            .router
            .claim(&self.rights[who], clean, expiry, self.instant());
        self.handles[who] = Some(match claim {
            Claim::New(handle) if !resumed => handle,
            Claim::Resumed(handle, _) if resumed => handle,
            Claim::New(_) | Claim::Resumed(..) | Claim::Wait(_) | Claim::Refused(_) => {
                panic!("{}: session present should be {resumed}", NAMES[who])
            }
        });
    }

    /// Ends the connection, if there is one; `clean`: by a DISCONNECT, which takes the will along.
    fn lose(&mut self, who: usize, clean: bool) {
        let now = self.now;
        let Some(model) = self.models[who].as_mut().filter(|model| model.attached) else {
            return;
        };
        let declared = model.declared.take().filter(|_| !clean);
        let (expiry, mut sent) = (model.expiry, None);
        model.attached = false;
        match declared.clone() {
            Some((delay, will)) if delay == 0 || expiry == 0 => sent = Some(will),
            Some((delay, will)) => model.will = Some((now + u64::from(delay), will)),
            None => {}
        }
        if expiry == 0 {
            self.models[who] = None;
        } else if expiry < u32::MAX {
            model.expires_at = Some(now + u64::from(expiry));
        }
        self.expected.extend(sent);
        let will = declared.map(|(delay, words)| Will {
            qos: QoS::AtMostOnce,
            retain: false,
            topic: TopicName::new(text("will"), TopicLimits::default()).unwrap(),
            payload: Bytes::from(words),
            will_delay_interval: Some(delay),
            properties: None,
        });
        let departure = Departure {
            parked: Parked::default(),
            session_expiry_interval: expiry,
            will,
        };
        let handle = self.handles[who].as_ref().unwrap();
        self.router.depart(handle, departure, self.instant());
    }

    fn advance(&mut self, seconds: u64) {
        self.now += seconds;
        for model in &mut self.models {
            let Some(known) = model.as_mut().filter(|model| !model.attached) else {
                continue;
            };
            let has_expired = known.expires_at.is_some_and(|at| at <= self.now);
            if known.will.as_ref().is_some_and(|(at, _)| *at <= self.now) || has_expired {
                self.expected
                    .extend(known.will.take().map(|(_, will)| will));
            }
            if has_expired {
                *model = None;
            }
        }
        self.router.handle_timeout(self.instant());
    }

    fn check(&mut self, seed: u64, step: usize) {
        let (mut sent, mut expected) = (payloads(&self.reader), std::mem::take(&mut self.expected));
        sent.sort();
        expected.sort();
        assert_eq!(sent, expected, "seed {seed}, step {step}: wills");
        for (name, model) in NAMES.iter().zip(&self.models) {
            let mut exists = false;
            self.router
                .registry()
                .for_each(|handle| exists |= **handle.client_id() == **name);
            assert_eq!(exists, model.is_some(), "seed {seed}, step {step}: {name}");
        }
    }
}

/// `WARDGATE_SEEDS=100000` for as many as the row states.
#[test]
fn ses_05_timers_agree_with_a_model_in_any_order_of_events() {
    let seeds = std::env::var("WARDGATE_SEEDS").map_or(500, |seeds| seeds.parse().unwrap());
    let policies = policies(ALLOW);
    for seed in 0..seeds {
        let (mut dice, mut world) = (Dice(seed), World::new(&policies));
        for step in 0..STEPS {
            world.step(&mut dice);
            world.check(seed, step);
        }
    }
}
