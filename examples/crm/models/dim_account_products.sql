-- Which account uses which product: one row for each pair, whatever the number of subscriptions behind it.
select
    company_id || ':' || product_id as pair_id,
    company_id,
    product_id,
    sum(seats) as seats
from {{ ref('subscriptions') }}
where status <> 'cancelled'
group by company_id, product_id
