"""What each column of each table of a run means, for documents and displays."""

from __future__ import annotations

from collections.abc import Mapping

#: What a row of each table is.
ROWS: Mapping[str, str] = {
    "rounds": "A row for each round.",
    "computes": "A row for each computation of a node: a stage's forward or backward pass of a "
    "micro-batch, an optimizer step, or the aggregation at the base station.",
    "transfers": "A row for each transfer between two nodes that has ended, soundings included. It "
    "has the activity of the sender's radio for the transfer's own bytes.",
    "links": "A row for each directed link that the scheme was shown before it planned the round.",
    "pipelines": "A row for each planned pipeline.",
    "devices": "A row for each node, control units and base stations included.",
    "encodings": "A row for each unit of each averaged pipeline and each direction in which it "
    "travelled in another format than fp32.",
    "nodes": "A row for each node and interferer: where it was, and what limits it.",
    "handovers": "A row for each change of a control unit from one base station to another.",
    "plans": "A row for each stage of each planned pipeline, that is, each segment of the encoder.",
    "predictions": "A row for each quantity that the scheme predicted of a round, beside what was "
    "then measured; empty for schemes that predict nothing.",
    "media": "A row for each point of the curve of goodput over SINR that planners assume, for a "
    "single transfer that has the whole band of a medium. The same in all rounds, except that its "
    "links are those of the first one with handover.",
}

#: Columns that every table has.
COMMON: Mapping[str, str] = {
    "scheme": "Scheme that planned the round.",
    "seed": "Seed of the run.",
    "round": "Number of the round, from 0.",
}

_CLUSTER = "Number of the cluster, from 0; −1 for the base station."
_STEP = "Number of the local step within the round, from 0; −1 where there is none."
_PIPELINE = (
    "Number of the pipeline within its cluster, from 0; −1 where there is none, or where a "
    "multicast is for several."
)

#: The meaning of the other columns, by table. Instants are simulated time since the run began.
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "rounds": {
        "start_s": "Beginning of the round.",
        "end_s": "End of the round.",
        "duration_s": "Duration of the round; the sum of its phases.",
        "broadcast_s": "Phase in which the base station sends the model to the devices. Phases are "
        "those of the pipeline that finished last.",
        "pipeline_s": "Phase of the local steps; of a round without pipelines, the time it waited.",
        "gather_s": "Phase in which the devices send their segments to the control unit.",
        "upload_s": "Phase in which the control unit sends the model to the base station.",
        "aggregate_s": "Phase in which the base station averages the models.",
        "sounding_s": "Phase in which links are measured before the plan is made.",
        "computation_s": "The longest time that any pipeline took for its local steps, transfers "
        "between its stages included.",
        "overlap_s": "Time between the first forward pass and the last optimizer step of the "
        "pipeline that finished last in which any of its parameters were on their way; 0 unless "
        "the exchange is streamed.",
        "waited_s": "Time in which nobody could take part and the round waited for a node to "
        "return; a part of `pipeline_s`.",
        "planning_wall_s": "Wall-clock time of planning, which takes no simulated time.",
        "loss": "Training loss: the mean over local steps and clusters, weighted by their data; "
        "nan where no pipeline was averaged.",
        "metric": "The task's main metric on the test set after the round.",
        "energy_j": "Energy of all nodes: for computing, sending and receiving, and at idle.",
        "device_energy_j": "Energy of all devices, without control units and base stations.",
        "compute_energy_j": "Energy of all nodes for computing, above idle.",
        "tx_energy_j": "Energy of all nodes for sending, above idle.",
        "rx_energy_j": "Energy of all nodes for receiving, above idle.",
        "idle_energy_j": "Energy of all nodes at idle: idle power × time; 0 by the energy model "
        "`radiated`.",
        "divergence": "Divergence Σ ρΓ of the gradients, in units of σ²/B, which a round without "
        "losses has.",
        "peak_device_memory_bytes": "The largest peak memory of any device that held blocks.",
        "failed_pipelines": "Number of pipelines that failed.",
        "abandoned": "The clusters in which every pipeline failed, and why; else empty.",
    },
    "computes": {
        "node": "Node that computes.",
        "action": "`F` (forward), `B` (backward), `step` (optimizer) or `aggregate`.",
        "cluster": "Number of the cluster, from 0; −1 for the aggregation.",
        "pipeline": _PIPELINE,
        "step": _STEP,
        "stage": "Number of the stage in the pipeline, 0 being the first part of the model; −1 for "
        "the aggregation.",
        "micro_batch": "Number of the micro-batch, from 0; −1 for optimizer steps and the "
        "aggregation.",
        "start_s": "Beginning.",
        "end_s": "End.",
        "flops": "Floating-point operations of the computation; of one that was cut, those that it "
        "would have taken.",
        "wall_s": "Wall-clock time that PyTorch took.",
        "outcome": "`done`, or `cut`: its node left, or its pipeline failed.",
    },
    "transfers": {
        "kind": "`model`, `parameters`, `activation`, `gradient`, `labels` or `sounding`.",
        "src": "Sender.",
        "dst": "Receiver.",
        "radio": "Radio over which it was sent.",
        "outcome": "`delivered`, `partial` (some bytes were lost), `lost`, `cut` (by its sender) "
        "or `refused` (no connection was made).",
        "cluster": "Number of the cluster, from 0; −1 where there is none.",
        "pipeline": _PIPELINE,
        "stage": "Number of the sender's stage in the pipeline; −1 where there is none.",
        "micro_batch": "Number of the micro-batch, from 0; −1 where there is none.",
        "step": _STEP,
        "bytes": "Size of the payload.",
        "lost_bytes": "Bytes of the payload that did not arrive.",
        "retransmissions": "TCP: segments that TCP sent again. UDP and the link layer: transport "
        "blocks that HARQ sent again.",
        "extrapolated_bytes": "Bytes that were not simulated as packets (`fidelity: sampled`).",
        "start_s": "When the payload was passed to the transport.",
        "end_s": "When its last byte arrived, or the transfer ended otherwise.",
        "sinr_db": "Mean SINR at the receiver, weighted by airtime; nan where nothing was sent.",
        "tx_power_dbm": "Transmit power.",
        "bandwidth_hz": "Bandwidth on which it was sent.",
        "airtime_s": "Time for which its bytes were on the air, retransmissions included.",
        "energy_j": "Radiated energy: transmit power × airtime.",
        "group": "Number of the multicast within the round, from 1, which its receivers' rows "
        "share; 0 where it was sent to one node alone. Airtime and energy are divided among these "
        "rows, and bytes are not: they were sent once.",
    },
    "links": {
        "src": "Sender.",
        "dst": "Receiver.",
        "gain_db": "Received over radiated power, antennas included.",
        "interference_dbm_hz": "Power spectral density of noise and interference at the receiver.",
        "sinr_db": "SINR at the power and over the bandwidth of the latest measurement.",
        "goodput_bps": "Bits that arrived per second in which the link had something to send; 0 "
        "before anything but soundings was sent.",
        "loss": "Share of the bytes that did not arrive.",
        "age_s": "Time since the latest measurement.",
        "tx_power_dbm": "Transmit power at the latest measurement.",
    },
    "pipelines": {
        "cluster": "Number of the cluster, from 0.",
        "pipeline": "Number of the pipeline within its cluster, from 0.",
        "micro_batches": "Number of micro-batches of a batch.",
        "devices": "Devices of its segments, in order; after a loss, those with which it ended.",
        "schedule": "Pipeline schedule.",
        "fate": "`averaged`, `failed`, or `late`: it had not arrived by the round's deadline.",
        "weight": "Weight of its model in the new global model; 0 where it failed.",
        "loss": "Training loss, the mean over its local steps; nan where it failed.",
        "end_s": "When its last parameters arrived, or when it failed.",
        "reason": "Why it failed or was late; else empty.",
        "lost": "Devices that left while it needed them: when, in which local step, and from which "
        "local step it went on with which optimizer states of the device; else empty.",
        "repeated_steps": "Local steps that had ended and were computed again after a loss.",
        "stages": "Devices and blocks of its segments, in order; after a loss, those with which it "
        "ended.",
        "age": "Rounds since it was trained: 0 in its own round, more for late work that is kept.",
    },
    "devices": {
        "device": "Node.",
        "cluster": _CLUSTER,
        "blocks": "Number of encoder blocks that it held.",
        "peak_memory_bytes": "Peak memory: weights, gradients, optimizer states, activations, and "
        "references and error memories of the exchange's formats.",
        "compute_energy_j": "Energy for computing, above idle.",
        "tx_energy_j": "Energy for sending, above idle, soundings included.",
        "rx_energy_j": "Energy for receiving, above idle, soundings included.",
        "radio_energy_j": "Energy for sending and receiving together.",
        "idle_energy_j": "Energy at idle: idle power × the time for which the node was up in the "
        "round; 0 by the energy model `radiated`. The node's energy is this and that for "
        "computing, sending and receiving.",
        "energy_queue": "Virtual queue of its energy budget after the round, in budgets; nan where "
        "the scheme keeps none.",
        "sits_out": "Why the scheme did not use the device; else empty.",
        "away_s": "For how long it was away in the round.",
        "temperature_c": "Its temperature in °C at the end of the round; nan without a model "
        "of it.",
        "throttled": "Whether it then computed more slowly, as it was too hot.",
        "charge_j": "What its battery then held; nan without one.",
        "empty": "Whether it was then away since its battery was empty.",
    },
    "encodings": {
        "cluster": "Number of the cluster, from 0.",
        "pipeline": "Number of the pipeline within its cluster, from 0.",
        "direction": "`down` from the base station before the local steps, or `up` after them.",
        "unit": "Unit of the model: the embedding (with a local head), a block, or the decoder.",
        "format": "Format that the exchange gives for the unit.",
        "whole": "Whether the unit went in fp32, since its node lacked the reference from which "
        "differences are taken.",
        "bytes": "Size of the unit on each hop of its way.",
        "distortion": "‖e‖²/‖x‖² of what was encoded, where e is the error after decoding; 0 where "
        "nothing was encoded.",
        "norm_sq": "‖x‖² of what was encoded: of the difference, with what top-k has not sent "
        "before, or of the parameters; 0 where nothing was encoded. Times `distortion` it is the "
        "squared error of the unit as it arrived.",
        "dropped_error": "Whether what top-k had not sent of the unit before was dropped, as the "
        "unit has moved to another node or has another kind of format.",
    },
    "nodes": {
        "node": "Node or interferer.",
        "role": "`base station`, `control unit`, `device` or `interferer`.",
        "cluster": "Number of the cluster, from 0; −1 where there is none.",
        "profile": "Device profile.",
        "x_m": "Position to the east, in the study's coordinates, at the beginning of the round.",
        "y_m": "Position to the north, in the study's coordinates, at the beginning of the round.",
        "z_m": "Height above ground at the beginning of the round.",
        "end_x_m": "Position to the east at the end of the round.",
        "end_y_m": "Position to the north at the end of the round.",
        "end_z_m": "Height above ground at the end of the round.",
        "station": "Base station that serves the node's cluster, with handover at the beginning of "
        "the round; empty where there is none.",
        "end_station": "Base station that serves it at the end of the round.",
        "memory_limit_bytes": "Memory that training may use; nan where there is no limit.",
        "energy_budget_j": "The scheme's budget of energy for a round; nan where there is none.",
    },
    "handovers": {
        "node": "Control unit.",
        "cluster": "Number of the cluster, from 0.",
        "at_s": "When it left its station.",
        "from_station": "Base station that served it before.",
        "to_station": "Base station that serves it from then on.",
        "interruption_s": "How long its radio to base stations was silent then.",
    },
    "plans": {
        "cluster": "Number of the cluster, from 0.",
        "pipeline": "Number of the pipeline within its cluster, from 0.",
        "stage": "Number of the segment within the pipeline, from 0, without the first part of the "
        "model.",
        "device": "Device that trains the segment.",
        "first_block": "First encoder block of the segment, from 0.",
        "last_block": "Last encoder block of the segment.",
        "blocks": "Number of encoder blocks in the segment.",
        "recompute": "Whether activations are computed again in the backward pass.",
        "micro_batches": "Number of micro-batches of a batch.",
        "schedule": "Pipeline schedule.",
        "share": "Fraction of each of the cluster's batches that the pipeline trains on.",
    },
    "predictions": {
        "what": "Name and quantity in one text.",
        "name": "What it is a property of: the round, or a node.",
        "quantity": "Quantity, with its unit.",
        "predicted": "Predicted value.",
        "measured": "Measured value.",
    },
    "media": {
        "medium": "Name of the medium, that is, of a band that links have in common.",
        "stack": "Radio stack.",
        "bandwidth_hz": "Bandwidth of the medium.",
        "sinr_db": "SINR at the receiver.",
        "goodput_bps": "Payload that arrives per second.",
    },
}  # fmt: skip

#: Units by the end of a column's name; the longest one counts.
_UNITS = {
    "_s": "s",
    "_j": "J",
    "_m": "m",
    "_w": "W",
    "bytes": "byte",
    "_hz": "Hz",
    "_bps": "bit/s",
    "_db": "dB",
    "_dbm": "dBm",
    "_dbm_hz": "dBm/Hz",
    "flops": "FLOP",
}


def unit(column: str) -> str:
    """The unit of a column's values, which its name ends with; empty where there is none."""
    ends = [end for end in _UNITS if column.endswith(end)]
    return _UNITS[max(ends, key=len)] if ends else ""
