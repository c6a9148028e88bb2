//! The configuration files' text. A node's file is a page for the owner, so it explains itself.

use std::{fmt::Write as _, path::PathBuf};

use skerry_proto::RegionId;

/// A loopback address: whoever runs a part on a machine of its own puts that one's there.
pub fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// A string as TOML writes it.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A whole node's file with these `[[table]]` entries.
pub fn node(region: &RegionId, listen: &str, tables: &str) -> String {
    let head = node_head(region, listen, true);
    let foot = node_foot(true, None);
    format!("{head}{TABLES}{tables}{foot}")
}

/// What a draft says until the owner fills it in.
const DRAFTED_PERSONS: u64 = 1_000;

/// δ of a project and of all: the usual ones, or for many persons a power of ten that is allowed.
fn deltas(persons: u64) -> (f64, f64) {
    const USUAL: (f64, f64) = (1e-7, 4e-7);
    const USUAL_TO: u64 = 250_000;
    if persons <= USUAL_TO {
        return USUAL;
    }
    // One digit more than `persons` has, and one for the factor ten.
    let total = 10_f64.powi(-(persons.to_string().len() as i32) - 1);
    (total / 4.0, total)
}

/// The keys that come before any table.
pub fn node_head(region: &RegionId, listen: &str, persons: bool) -> String {
    let mut text = format!(
        "# The node of region `{region}`: which data it has, what may be asked of them, and how\n\
         # much. This file is the owner's policy. What it doesn't name is not there, and nothing\n\
         # in a question can widen it. Check it with `skerry doctor` and this file's name.\n\
         \n\
         region = {}\n\
         # Where the coordinator reaches this node.\n\
         listen = {}\n\n",
        quoted(region.as_str()),
        quoted(listen)
    );
    if persons {
        text.push_str(
            "# TO FILL IN: about how many persons are in the data. A round number, since it is\n\
             # public. It bounds δ below: the total is at most 1/(10 × persons).\n\
             ",
        );
        let _ = write!(text, "persons = {DRAFTED_PERSONS}\n\n");
    }
    text
}

/// What comes after the tables; the budget for that many persons, or as many as the head says.
pub fn node_foot(budget: bool, persons: Option<u64>) -> String {
    let mut text = String::new();
    if budget {
        text.push_str(
            "# How much may be learnt of one person over the data's life: by one project, and by all\n\
             # together. A question costs its epsilon. What is spent never comes back, not by time,\n\
             # not by a restart, and a changed policy doesn't refill it.\n\
             [budget]\n",
        );
        let (project, total) = deltas(persons.unwrap_or(DRAFTED_PERSONS));
        let _ = write!(
            text,
            "project = {{ epsilon = 10.0, delta = {project:e} }}\n\
             total   = {{ epsilon = 30.0, delta = {total:e} }}\n\n"
        );
    }
    text.push_str(
        "# The defaults of the rest:\n\
         #\n\
         # ledger = \"ledger.sqlite\"     # at the top, beside `listen`\n\
         # prepared = \"prepared\"        # there too: what `skerry ingest` made of the private tables,\n\
         #                              # which are then read from there, and much faster\n\
         #\n\
         # [tls]\n\
         # certificate = \"node.pem\"\n\
         # key = \"node.key\"\n\
         # client_authority = \"federation-ca.pem\"\n\
         #\n\
         # [limits]\n\
         # memory_mib = 1024            # of the query engine, and of what a search keeps for its answer\n\
         # concurrent = 4               # questions at a time\n\
         # hot_mib = 0                  # of prepared tables' columns that are kept in memory\n\
         #\n\
         # [answers]\n\
         # time_grid_ms = 0             # answers leave at a multiple of this; 0: at once\n",
    );
    text
}

const TABLES: &str = "\
# The tables. Of each private one: `unit`, the column that says whose row it is, and at most how
# many rows one person has. A table without `unit` is public. One person has one id in all of them:
# where a table has a numbering of its own, say `unit_space = \"its name\"`, and it is refused beside
# others. Of each column what is public:
#   age  = { range = [0, 100] }       numbers and dates to add up or to compare: all lie between
#   site = { values = [1, 2, 3] }     keys to group by: a group for each value, and for NULL
#   sex  = { values = [\"f\", \"m\"], nulls = false }              no group for NULL
#   place = { values_from = \"municipalities.code\" }            values of a public table's column
#   note = {}                         nothing: it can only be used in conditions
# Take out the lines of columns that nobody shall ask for. Declarations are enforced, not
# believed: a wrong one costs accuracy, never privacy.
#
# Tables whose names or codes are this region's own are mapped to the federation's by views, which
# come after the tables: `name`, `sql` (one SELECT over the tables) and [view.columns]. A table with
# `hidden = true` can then only be named by views.

";

/// For a node of which no data are known yet.
pub const SAMPLE_TABLE: &str = "\
# [[table]]
# name = \"visits\"
# path = \"visits.parquet\"             # a file, a folder or a glob; Parquet or Arrow
# unit = \"person_id\"
# max_rows_per_unit = 5
#
# [table.columns]
# person_id = {}
# site      = { values = [1, 2, 3] }
# age       = { range = [0, 100] }
# start     = { range = [\"2019-01-01\", \"2024-12-31\"] }
# diagnosis = {}

";

/// The coordinator's file, with the public tables that noisy figures can be joined with.
pub fn coordinator(
    listen: &str,
    regions: &[(RegionId, String)],
    public: &[(String, PathBuf)],
) -> String {
    let mut text = format!(
        "# The coordinator: where researchers ask. It holds no data of persons, and for privacy\n\
         # nobody has to trust it.\n\
         \n\
         # Where researchers connect: Arrow Flight SQL over TLS, with a certificate of theirs.\n\
         listen = {}\n\
         # One person is known to at most this many regions. With more than 1, a person's loss is\n\
         # that many times what one region charges, and every answer says so.\n\
         regions_per_person = 1\n\
         # How long a question waits for the regions.\n\
         deadline_seconds = 60\n",
        quoted(listen)
    );
    for (region, address) in regions {
        let url = quoted(&format!("https://{address}"));
        let id = quoted(region.as_str());
        let _ = write!(text, "\n[[region]]\nid = {id}\nurl = {url}\n");
    }
    for (name, path) in public {
        let (name, path) = (quoted(name), quoted(&path.to_string_lossy()));
        let _ = write!(text, "\n[[table]]\nname = {name}\npath = {path}\n");
    }
    text.push_str(STANDING);
    text
}

/// How a question is put on the schedule.
pub const STANDING: &str = r#"
# A question that the coordinator asks by itself, once for each week that is over. It tells of
# figures that noise and chance don't explain. `skerry standing list` and `show` say how it stands.
#
# [[standing]]
# name = "acute_alert"
# series = 1                   # counted up when the question changes: what was asked is not asked again
# project = "acute-alert"      # whose budget
# epsilon = 5.2                # of all weeks together: 0.1 for each of 52
# sql = """
#   SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(max_rows_contributed = 2)
#     region, COUNT(*) AS admissions FROM episodes
#   WHERE service = 'hospital_admission' AND urgent
#     AND start_date >= $week AND start_date < $week + INTERVAL '7 days'
#   GROUP BY region"""         # or `study` with `parameters`; `week_parameter` says which is the week
# figure = "admissions"        # the column that is watched, a count
# group_by = ["region"]        # the columns that name whose it is
# from = "2026-01-05"          # the first week's first day
# weeks = 52                   # or `until`, the last week's first day
# delay_days = 3               # for data that come late
# ask_on = "thursday"          # left out: on any day
# ask_at_hour = 6              # UTC
# patience_hours = 24          # then the others' figures are taken without the regions that are missing
# give_up_days = 14            # then a week is not tried again
#
# [standing.band]
# history = 26                 # at most so many weeks before are looked at
# learning = 8                 # with fewer, nothing is outside
# false_alarms = 0.001         # of a group in a week in which nothing has changed
# sides = "above"              # or "both"
#
# [standing.alerts]
# within_days = 28             # of weeks that ended earlier nobody is told
# webhook = "https://alerts.region.example/skerry"
# webhook_authority = "alerts-ca.pem"    # left out: whom the public web trusts
# mail_dir = "mail"            # a file for each alert, which a mail server takes from there
# mail_from = "skerry@region.example"
# mail_to = ["ward@region.example"]
"#;
