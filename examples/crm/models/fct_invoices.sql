with totals as (

    select invoice_id, cast(sum(quantity * unit_price) as decimal(16, 2)) as total
    from {{ ref('invoice_lines') }}
    group by invoice_id

)

select
    invoices.invoice_id,
    invoices.subscription_id,
    invoices.issued_on,
    upper(left(invoices.status, 1)) || substr(invoices.status, 2) as status,
    coalesce(totals.total, 0) as total
from {{ ref('invoices') }} as invoices
left join totals on totals.invoice_id = invoices.invoice_id
