"""Every field that all experiments share, with its unit and what None means; experiments import it and change lines."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from jaxepi.config import section_of
from jaxepi.optimizer_config import OptimizerConfig


def get_base() -> ConfigDict:
    """A config without system, model and task; those are the experiment's."""
    config = ConfigDict()
    config.seed = 0  # of the initial parameters, the order of records and the augmentation
    config.batch_size = 32  # records of one optimizer update, over all devices and hosts
    config.eval_batch_size = 32  # records of one evaluation step, over all devices and hosts
    # of steps, eval_every, save_every, patience_from and of warmup_steps, decay_steps, hold_steps: step | epoch
    config.unit = "step"
    config.steps = 1_000_000  # optimizer updates
    # Runs (workdirs) or released files to take weights from before the first step: "PATH", or "PATH::dna.*,heads.*"
    # for some of them by their path in the model. Later ones win.
    config.init_from = ()
    config.frozen = ()  # patterns of weights that are not trained, such as "dna.*"; () = all are
    # What frozen normalisation layers normalise with in training; their statistics stay as they are in both cases.
    config.frozen_statistics = "running"  # running = those statistics, as in prediction | batch = the batch's (parity)
    # Training time in this workdir, all starts together, each without its first step (compilation); None = no limit.
    config.max_minutes = placeholder(float)
    config.log_every = 50  # steps between log lines
    config.eval_every = 5_000  # steps between evaluations of the validation split; 0 = only at the end
    config.eval_batches = placeholder(int)  # batches of one evaluation during training; None = the whole split
    config.save_every = 1_000  # steps between checkpoints for resuming; 0 = only at the end
    config.keep = 2  # checkpoints for resuming that are kept; the best by `monitor` is kept besides
    # Validation metric that decides the best; None = the task's choice. Of several, "a,b" or ("a", "b"), each has a
    # best checkpoint of its own, and the first is the one that `best` and `patience` mean.
    config.monitor = placeholder(object)
    config.patience = placeholder(int)  # evaluations in a row without a new best that end the run; None = never
    config.patience_watches = "first"  # whose new best that is: of the first metric of `monitor` | of any of them
    config.patience_from = 0  # steps before which `patience` does not end the run
    config.profile_steps = ()  # (first, last + 1) steps to profile to workdir/profile; () = none
    config.wandb_project = placeholder(str)  # also log to this Weights & Biases project; None = no
    config.compilation_cache = placeholder(str)  # folder of compiled programs; None = the user's cache folder
    # Which one the report is about, and every other verb takes without --checkpoint: best (by `monitor`) | last.
    config.report_checkpoint = "best"
    config.report = True  # after training and evaluation, write workdir/report/report.html

    config.mesh = ConfigDict()
    config.mesh.fsdp = 1  # devices that share one copy of parameters and optimizer; the others split the batch

    config.dataset = ConfigDict()
    config.dataset.path = ""  # folder made by data_prep
    # Folders of several datasets of one kind, trained on together, instead of `path`: each batch is of one of them, and
    # each record comes once an epoch. () = the one at `path`.
    config.dataset.paths = ()
    config.dataset.command = ""  # the data_prep command that makes it, for messages
    # data_prep command that makes an embedded sample if nothing is at `path`, which `command` makes; "" = none
    config.dataset.sample = ""
    config.dataset.train_split = "train"
    config.dataset.validation_split = "valid"
    config.dataset.test_split = "test"  # evaluated after training too; "" = there is none
    config.dataset.folds = ()  # splits that the verb crossval holds out one by one while the others train; () = none
    config.dataset.tracks = ()  # names or numbers of the tracks to use; () = all
    config.dataset.readers = 4  # threads that read records on each host

    config.optimizer = section_of(OptimizerConfig)  # every field and its comment: jaxepi/optimizer_config.py
    return config
