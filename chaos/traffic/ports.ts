/**
 * Ports and sizes of a lab's traffic, known to both ends.
 */
export const PROBE_PORT = 5001;
export const STREAM_PORT = 5002;
export const BULK_PORT = 5003;
/** New connections spread over these, so that one destination never runs out of translated ports. */
export const VISIT_PORTS = [5010, 5011, 5012, 5013, 5014, 5015, 5016, 5017] as const;

/** Bytes of the bulk download per second. */
export const BULK_BYTES_PER_SECOND = 5_000_000;
