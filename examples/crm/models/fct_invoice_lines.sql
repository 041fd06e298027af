select line_id, invoice_id, product_id, quantity, unit_price
from {{ ref('invoice_lines') }}
