import MediaFormats

/// Where pictures go on a canvas.
package enum GridLayout {
    /// A place: all numbers are even, as 4:2:0 wants it.
    package struct Cell: Sendable, Equatable {
        package var x: Int
        package var y: Int
        package var width: Int
        package var height: Int

        package init(x: Int, y: Int, width: Int, height: Int) {
            self.x = x
            self.y = y
            self.width = width
            self.height = height
        }
    }

    /// Places for so many pictures, in reading order; a last row that is not full stands in the middle.
    package static func cells(_ count: Int, _ layout: MixLayout, width: Int, height: Int) -> [Cell] {
        guard count > 0 else { return [] }
        let columns =
            switch layout {
            case .grid: squareSide(count)
            case .row: count
            case .column: 1
            }
        let rows = (count + columns - 1) / columns
        let cellWidth = max(2, width / columns & ~1)
        let cellHeight = max(2, height / rows & ~1)
        let top = (height - rows * cellHeight) / 2 & ~1
        return (0..<count).map { index in
            let row = index / columns
            let inRow = min(columns, count - row * columns)
            let left = (width - inRow * cellWidth) / 2 & ~1
            return Cell(
                x: max(0, left + index % columns * cellWidth), y: max(0, top + row * cellHeight), width: cellWidth,
                height: cellHeight)
        }
    }

    /// The smallest number whose square is at least `count`.
    private static func squareSide(_ count: Int) -> Int {
        var side = 1
        while side * side < count { side += 1 }
        return side
    }
}
