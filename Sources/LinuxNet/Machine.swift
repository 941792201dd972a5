import CLinuxNet

package enum Machine {
    /// Processors that this process may run on (its affinity mask).
    package static var usableCores: Int { max(1, Int(weir_usable_cores())) }
}
