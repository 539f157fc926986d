/** For worlds without a disk: a gateway whose operator left attachments off. */
import type { AttachmentLimits } from "../../packages/gateway/src/kit/attachments.ts";
import type { AttachmentFiles } from "../../packages/gateway/src/subagents/attachment-files.ts";

export const attachmentsOff: AttachmentLimits = { enabled: false, maxFiles: 0, maxFileBytes: 0, maxTotalBytes: 0 };

export const noAttachments: AttachmentFiles = {
  hand: () => Promise.reject(new Error("attachments are off here")),
  sweep: () => Promise.resolve(),
};
