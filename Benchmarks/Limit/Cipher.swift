import CLimit

/// The loops to measure; see `CLimit.h`.
enum Cipher: CaseIterable {
    case plain, gcm, gcmEVP, cmJobs, cmBurst, cmSplit, cmEVP

    var name: String {
        switch self {
        case .plain: "plain"
        case .gcm: "gcm"
        case .gcmEVP: "gcm-evp"
        case .cmJobs: "cm-jobs"
        case .cmBurst: "cm-burst"
        case .cmSplit: "cm-split"
        case .cmEVP: "cm-evp"
        }
    }

    /// What travels, whichever library made it.
    var profile: String {
        switch self {
        case .plain: "none"
        case .gcm, .gcmEVP: "AES-GCM"
        case .cmJobs, .cmBurst, .cmSplit, .cmEVP: "AES-CM"
        }
    }

    var code: weir_limit_cipher {
        switch self {
        case .plain: WEIR_LIMIT_PLAIN
        case .gcm: WEIR_LIMIT_GCM_DIRECT
        case .gcmEVP: WEIR_LIMIT_GCM_EVP
        case .cmJobs: WEIR_LIMIT_CM_JOBS
        case .cmBurst: WEIR_LIMIT_CM_BURST
        case .cmSplit: WEIR_LIMIT_CM_SPLIT
        case .cmEVP: WEIR_LIMIT_CM_EVP
        }
    }
}
